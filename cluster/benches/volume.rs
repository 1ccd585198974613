//! What a day's commits take of the disk: `cargo bench -p lyncpin-cluster --bench volume`.
//!
//! 500 commits a second for 24 hours are 43,200,000; they are counted by volume, as fast as one voter takes them, with its
//! own housekeeping and every sync. Puts of 300 bytes go over 100,000 records in turn. `COMMITS=43200000` for the whole day;
//! without it a twentieth, which is cut often enough to show whether anything grows.

mod voters;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lyncpin_cluster::node::Node;
use lyncpin_cluster::{Change, Claims, Command, FencedStore, Incarnation, Reply};

const RECORDS: u64 = 100_000;
const BODY_BYTES: usize = 300;
const DAY: u64 = 500 * 24 * 60 * 60;
const WRITERS: u64 = 512;
const DISK_BYTES_MAX: u64 = 1 << 30;
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LINES: u64 = 20;

/// Every so many records one writer's, so that nobody else changes them.
async fn write(node: Node, owner: Incarnation, own: u64, commits: u64, done: Arc<AtomicU64>) {
    let mut numbers = (own..RECORDS).step_by(WRITERS as usize).cycle();
    while done.fetch_add(1, Ordering::Relaxed) < commits {
        let key: Arc<str> = format!("session/{}", numbers.next().expect("more records than writers")).into();
        let expected = node.replica().read(&key).map_or(0, |record| record.version);
        let body = vec![b'x'; BODY_BYTES].into();
        let change = Change::Put { writer: owner, key, expected, claims: Claims::default(), body };
        let reply = node.replica().propose(Command::Batch { changes: vec![change] }).await;
        assert!(matches!(reply, Ok(Reply::Applied { .. })), "{reply:?}");
    }
}

async fn day(commits: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("bound").to_string();
    drop(port);
    let node = voters::node(1, &[address], folder.path()).await;
    let owner = node.join().await.expect("a voter alone leads");
    println!("{commits} commits of {BODY_BYTES} bytes over {RECORDS} records; {DAY} are a day of 500 a second");
    let (begun, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> =
        (0..WRITERS).map(|own| tokio::spawn(write(node.clone(), owner, own, commits, done.clone()))).collect();
    let (mut most, mut most_of_line, mut line) = (0, 0, 1);
    while line <= LINES {
        tokio::time::sleep(LOOK_EVERY).await;
        let status = node.status();
        (most, most_of_line) = (most.max(status.disk_bytes), most_of_line.max(status.disk_bytes));
        let so_far = done.load(Ordering::Relaxed).min(commits);
        if so_far >= commits / LINES * line {
            let rate = so_far as f64 / begun.elapsed().as_secs_f64();
            println!(
                "{so_far:>9} commits, {rate:>6.0}/s, {:>4} records k; disk MB now {:>4}, most since the line before {:>4}; log {:>3} MB",
                status.records / 1_000,
                status.disk_bytes >> 20,
                most_of_line >> 20,
                status.log_bytes >> 20
            );
            (most_of_line, line) = (0, line + 1);
        }
    }
    for task in tasks {
        task.await.expect("a writer");
    }
    println!("most of all {} MB, after {:.0?}", most >> 20, begun.elapsed());
    assert!(most < DISK_BYTES_MAX, "over 1 GiB");
    node.stop().await;
}

fn main() {
    let commits = std::env::var("COMMITS").map_or(DAY / 20, |text| text.parse().expect("COMMITS is a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(day(commits));
}
