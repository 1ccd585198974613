//! A process without file descriptors. The limit is a process's, so the test runs itself again in a small one.

use std::process::Command;

use super::*;

const INSIDE: &str = "transport::tests::descriptors::the_listener_outlives_a_shortage_inside";

#[test]
fn the_listener_outlives_a_shortage_of_descriptors() {
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", INSIDE, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "started by the test above, under a limit of 64 descriptors"]
async fn the_listener_outlives_a_shortage_inside() {
    let mut listener = Listener::bind(ListenOptions::default(), None).await.unwrap();
    let mut clients = vec![TcpStream::connect(listener.address()).await.unwrap()];
    let first = listener.accept().await.unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    // The last descriptor goes to the client's side; there is none for ours.
    clients.push(TcpStream::connect(listener.address()).await.unwrap());
    until(|| listener.counters().accept_failed() >= 3).await;
    assert_eq!(listener.counters().accepted(), 1);
    drop(hoard);
    let second = listener.accept().await.unwrap();
    assert_eq!(listener.connections(), 2);
    drop((first, second));
}
