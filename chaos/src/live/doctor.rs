//! Which faults this machine can do: each is tried, none is believed.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;

use clap::Args;

use super::disk::Cellar;
use super::network::{self, Network};
use super::site::Site;
use super::switch::{Action, Match};
use super::{LiveError, outside, preload};

/// Try which faults this machine can do.
///
/// Exit status 1: one that is needed for `chaos live --profile ci` is missing.
#[derive(Args, Clone, Debug)]
pub struct Doctor {
    #[arg(long, hide = true)]
    pub inside: bool,
}

/// What was tried, whether it must work, what is lost without it, and how it went.
struct Tried {
    what: &'static str,
    is_required: bool,
    result: Result<String, LiveError>,
    remedy: &'static str,
}

impl Doctor {
    pub fn run(&self) -> ExitCode {
        if !self.inside && Site::can_have_a_world() {
            let arguments: [OsString; 2] = ["doctor".into(), "--inside".into()];
            return ExitCode::from(outside::in_a_world(&arguments));
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("chaos: {error}");
                return ExitCode::from(2);
            }
        };
        let _entered = runtime.enter();
        let folder = std::env::temp_dir().join(format!("lyncpin-doctor-{}", std::process::id()));
        let tried = self.try_all(&folder);
        // Err: it was never made, or something is still mounted in it, which goes with our namespace.
        let _ = std::fs::remove_dir_all(&folder);
        let mut is_well = true;
        for one in &tried {
            let (word, says) = match &one.result {
                Ok(how) => ("works", how.clone()),
                Err(why) if one.is_required => ("MISSING", format!("{why}; {}", one.remedy)),
                Err(why) => ("missing", format!("{why}; {}", one.remedy)),
            };
            is_well &= one.result.is_ok() || !one.is_required;
            println!("{word:<9}{:<46}{says}", one.what);
        }
        println!("\n{}", if is_well { "All that is required works." } else { "Something required is MISSING." });
        if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn try_all(&self, folder: &Path) -> Vec<Tried> {
        let mut tried = Vec::new();
        let mut add = |what, is_required, remedy, result| tried.push(Tried { what, is_required, remedy, result });
        add("kill, freeze and thaw a process", true, "a shell with kill(1) is needed", freeze());
        add(
            "the product's program",
            true,
            "cargo build -p lyncpin",
            Site::program(None).map(|p| p.display().to_string()),
        );
        let network = world(self.inside);
        add(
            "partitions, one and two ways, delay, held packets",
            true,
            "root, /dev/net/tun, iproute2, util-linux",
            network,
        );
        let has_ss = outside::run("ss -H -t -n -K dst 10.255.255.255").map(|_| "ss -K".to_owned());
        add("cut TCP connections", false, "iproute2, and a kernel with INET_DIAG_DESTROY", has_ss);
        match std::fs::create_dir_all(folder).map_err(LiveError::from).and_then(|()| disks(self.inside, folder)) {
            Ok(results) => results.into_iter().for_each(|(what, how)| add(what, true, "", Ok(how))),
            Err(why) => add("disk full, EIO, hang, power cut", true, "root, loop devices, xfsprogs", Err(why)),
        }
        add("fsync that lies or takes long", false, "a C compiler (cc)", shim(folder));
        let clock = preload::faketime().and_then(|library| clock(&library, folder));
        add("clock jumps and rates", false, "apt-get install libfaketime", clock);
        let limits = outside::run("prlimit --nofile").map(|_| "prlimit".to_owned());
        add("limits of files and memory", false, "util-linux", limits);
        let named = |program: &'static str| match outside::has(program) {
            true => Ok(program.to_owned()),
            false => Err(LiveError::Unavailable("it is not installed")),
        };
        add(
            "HAProxy as the balancer",
            false,
            "apt-get install haproxy; the built-in one is used instead",
            named("haproxy"),
        );
        tried
    }
}

fn freeze() -> Result<String, LiveError> {
    let mut child = Command::new("sleep").arg("30").stdin(Stdio::null()).spawn()?;
    let pid = child.id();
    let state = || -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.trim().chars().next()
    };
    let stopped = outside::run(&format!("kill -STOP {pid}")).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        state()
    });
    child.kill()?;
    let status = child.wait()?;
    match stopped? {
        Some('T') => Ok(format!("state T, then {status}")),
        _ => Err(LiveError::Unavailable("SIGSTOP did not stop a process")),
    }
}

/// A namespace behind the switch must be heard, and after a cut it must not.
fn world(inside: bool) -> Result<String, LiveError> {
    if !inside {
        return Err(LiveError::Unavailable("namespaces and TAP devices"));
    }
    let network = Network::start(1, 1)?;
    let listener = TcpListener::bind((network::CLIENTS, 0))?;
    let port = listener.local_addr()?.port();
    let say = |seconds: &str| {
        let line = format!("exec 3<>/dev/tcp/{}/{port} && echo hello >&3", network::CLIENTS);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", network::namespace(1)))
            .args(["timeout", seconds, "bash", "-c", &line]);
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !say("5") {
        return Err(LiveError::Unavailable("a frame through the switch: nothing came through"));
    }
    let mut heard = String::new();
    listener.accept()?.0.read_to_string(&mut heard)?;
    let (rule, hits) = network.add(Match { from: Some(1), ..Match::default() }, Action::Drop);
    let is_cut = !say("0.5");
    network.remove(rule);
    match is_cut && hits.load(Ordering::Relaxed) > 0 {
        true => Ok(format!("{:?} came through, and {} frames did not", heard.trim(), hits.load(Ordering::Relaxed))),
        false => Err(LiveError::Unavailable("a partition: frames went through a rule that drops them")),
    }
}

fn disks(inside: bool, folder: &Path) -> Result<Vec<(&'static str, String)>, LiveError> {
    if !inside {
        return Err(LiveError::Unavailable("disks of our own"));
    }
    let cellar = Cellar::make(folder)?;
    let point = folder.join("disk");
    let mut disk = cellar.disk(1, &point)?;
    let full = disk.fill()?;
    disk.free()?;
    let mut synced = std::fs::File::create(point.join("synced"))?;
    synced.write_all(b"kept")?;
    synced.sync_all()?;
    std::fs::File::open(&point)?.sync_all()?;
    std::fs::write(point.join("unsynced"), b"lost")?;
    let kept = disk.freeze_platter()?;
    drop(synced);
    disk.restore(kept)?;
    let (is_kept, is_lost) = (point.join("synced").exists(), !point.join("unsynced").exists());
    if !(is_kept && is_lost) {
        return Err(LiveError::Unavailable("a power cut: what was kept is not what was synced"));
    }
    disk.hang()?;
    disk.go_on()?;
    let failed = disk.fail()?;
    disk.repair()?;
    Ok(vec![
        ("disk full", full),
        ("power cut", "a synced file is kept, an unsynced one is lost".to_owned()),
        ("disk hangs", "fsfreeze".to_owned()),
        ("disk answers EIO", failed),
    ])
}

fn shim(folder: &Path) -> Result<String, LiveError> {
    std::fs::create_dir_all(folder)?;
    let library = preload::build_shim(folder)?;
    let told = folder.join("fsync-told");
    std::fs::write(&told, "eio")?;
    let output = Command::new("sync")
        .arg(folder.join("fsync.c"))
        .env("LD_PRELOAD", &library)
        .env("LYNCPIN_CHAOS_FSYNC", &told)
        .output()?;
    match output.status.success() {
        false => Ok("a preloaded fsync failed when it was told to".to_owned()),
        true => Err(LiveError::Unavailable("a preloaded fsync: it was not used")),
    }
}

fn clock(library: &Path, folder: &Path) -> Result<String, LiveError> {
    let file = folder.join("clock-told");
    std::fs::write(&file, "+100000s")?;
    let ask = |preload: Option<&Path>| -> Result<i64, LiveError> {
        let mut command = Command::new("date");
        command.arg("+%s");
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &file);
        }
        let output = command.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0))
    };
    let ahead = ask(Some(library))? - ask(None)?;
    match (99_000..101_000).contains(&ahead) {
        true => Ok(format!("a process was {ahead} s ahead")),
        false => Err(LiveError::Unavailable("a preloaded clock: it was not used")),
    }
}
