//! One voter's process: started, killed, frozen, and started again with a new life.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::outside;

/// While a node is starved it runs so long, then stands still so long.
pub const RUNS_MS: u64 = 20;
pub const STANDS_MS: u64 = 80;

/// What stays the same over a voter's lives.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `serve` or `witness`.
    pub part: &'static str,
    pub program: PathBuf,
    pub config: PathBuf,
    pub log: PathBuf,
    /// `None`: this process's own.
    pub namespace: Option<String>,
    /// For preloaded libraries.
    pub environment: Vec<(String, String)>,
}

pub struct Process {
    pub launch: Launch,
    child: Option<Child>,
    /// 0 before the first start.
    pub life: u32,
    /// Whoever watches must not start it again.
    pub is_held_down: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Err: it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Process {
    pub fn new(launch: Launch) -> Self {
        Self { launch, child: None, life: 0, is_held_down: false }
    }

    pub fn start(&mut self) -> io::Result<()> {
        let Launch { part, program, config, log, namespace, environment, .. } = &self.launch;
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = match namespace {
            Some(name) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{name}")).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg(part).arg("--config").arg(config);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        self.life += 1;
        Ok(())
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether a process has ended that nobody has waited for; true once.
    pub fn has_just_ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status.to_string())
    }

    /// kill -9, and waits for its end.
    pub fn kill(&mut self) -> io::Result<String> {
        let Some(mut child) = self.child.take() else { return Ok("it had ended".to_owned()) };
        child.kill()?;
        Ok(child.wait()?.to_string())
    }

    /// Any signal by name, e.g. `STOP`.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        outside::run(&format!("kill -{name} {pid}")).map(drop).map_err(io::Error::other)
    }

    /// The kernel's letter for its state: `T` is stopped.
    pub fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?)).ok()?;
        stat.rsplit(')').next()?.trim().chars().next()
    }

    /// Resident bytes, open files, threads.
    pub fn uses(&self) -> Option<(u64, u64, u64)> {
        let pid = self.pid()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| -> Option<u64> {
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some((number("VmRSS:")? * 1024, files, number("Threads:")?))
    }

    /// Its pid, and a limit just above what it uses: of open files (`nofile`) or bytes of address space (`as`).
    pub fn tight_limit(&self, what: &str) -> Option<(u32, u64)> {
        let (pid, (_, files, _)) = (self.pid()?, self.uses()?);
        if what == "nofile" {
            return Some((pid, files + 1));
        }
        let status = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: u64 = status.split(' ').next()?.parse().ok()?;
        Some((pid, pages * 4096 + 24 * 1024 * 1024))
    }
}

/// Takes the processor from a process most of the time, until it is dropped.
pub async fn starve(pid: u32) {
    loop {
        for (signal, ms) in [("STOP", STANDS_MS), ("CONT", RUNS_MS)] {
            // Err: the process is gone.
            let _ = outside::run(&format!("kill -{signal} {pid}"));
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}
