//! What stands before the nodes: HAProxy where it is installed, else the product's own balancer in a process of its own,
//! so that it too can be killed and frozen.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args;
use lyncpin::lab::balancer::Balancer;

use super::outside;

/// The product's own balancer as a process.
#[derive(Args, Clone, Debug)]
pub struct BalancerPart {
    #[arg(long)]
    pub listen: SocketAddr,
    #[arg(long = "node")]
    pub nodes: Vec<SocketAddr>,
}

impl BalancerPart {
    /// Serves until it is killed.
    pub fn run(&self) -> io::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let _balancer = Balancer::start(self.listen, self.nodes.iter().copied()).await?;
            std::future::pending().await
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Make {
    /// HAProxy when it is installed.
    Auto,
    Haproxy,
    BuiltIn,
}

pub struct BalancerProcess {
    pub address: SocketAddr,
    command: Vec<String>,
    child: Child,
    folder: PathBuf,
}

impl Drop for BalancerProcess {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl BalancerProcess {
    /// An `Err` is also a balancer that does not listen; `balancer.log` says why.
    pub fn start(make: Make, folder: &Path, address: SocketAddr, nodes: &[SocketAddr]) -> io::Result<Self> {
        let is_haproxy = make == Make::Haproxy || (make == Make::Auto && outside::has("haproxy"));
        let command = match is_haproxy {
            true => {
                let file = folder.join("haproxy.cfg");
                fs::write(&file, haproxy(address, nodes))?;
                vec!["haproxy".to_owned(), "-db".to_owned(), "-f".to_owned(), file.display().to_string()]
            }
            false => {
                let program = std::env::current_exe()?.display().to_string();
                let mut command = vec![program, "part-balancer".to_owned(), "--listen".to_owned(), address.to_string()];
                nodes.iter().for_each(|node| command.extend(["--node".to_owned(), node.to_string()]));
                command
            }
        };
        let mut balancer = Self { address, child: spawn(&command, folder)?, command, folder: folder.to_owned() };
        balancer.until_it_listens()?;
        Ok(balancer)
    }

    fn until_it_listens(&mut self) -> io::Result<()> {
        for _ in 0..500 {
            if std::net::TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the balancer has ended ({status}); see balancer.log")));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(io::Error::other("the balancer does not listen; see balancer.log"))
    }

    pub fn name(&self) -> &'static str {
        if self.command[0] == "haproxy" { "HAProxy" } else { "built in" }
    }

    pub fn kill(&mut self) -> io::Result<String> {
        self.child.kill()?;
        Ok(self.child.wait()?.to_string())
    }

    pub fn start_again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.command, &self.folder)?;
        Ok(())
    }

    pub fn signal(&self, name: &str) -> io::Result<()> {
        outside::run(&format!("kill -{name} {}", self.child.id())).map(drop).map_err(io::Error::other)
    }
}

fn spawn(command: &[String], folder: &Path) -> io::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("balancer.log"))?;
    Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}

/// Asks each node with OPTIONS, and ends its connections when it is unwell.
fn haproxy(address: SocketAddr, nodes: &[SocketAddr]) -> String {
    let lines = [
        "OPTIONS sip:health@localhost SIP/2.0",
        "Via: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKhealth",
        "Max-Forwards: 70",
        "From: <sip:balancer@localhost>;tag=health",
        "To: <sip:health@localhost>",
        "Call-ID: health",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
        "",
    ];
    let mut text = format!(
        "global\n    maxconn 4000\ndefaults\n    mode tcp\n    timeout connect 1s\n    timeout client 1h\n    timeout server 1h\n\
         \x20   timeout check 300ms\n    retries 3\n    option redispatch\nfrontend sip\n    bind {address}\n    default_backend nodes\n\
         backend nodes\n    balance roundrobin\n    option tcp-check\n    tcp-check connect\n"
    );
    let hex: String =
        lines.iter().flat_map(|line| line.bytes().chain(*b"\r\n")).map(|byte| format!("{byte:02x}")).collect();
    text += &format!("    tcp-check send-binary {hex}\n    tcp-check expect rstring ^SIP/2.0\\ 200\n");
    text += "    default-server inter 100ms fastinter 50ms downinter 100ms fall 2 rise 1 on-marked-down shutdown-sessions\n";
    for (n, node) in (1..).zip(nodes) {
        text += &format!("    server node{n} {node} check\n");
    }
    text
}
