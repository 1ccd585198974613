//! The log of a real process: JSON where nobody looks at it, its level changed while it runs, and what operators did.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(30);

/// A node whose only link leads nowhere: at `debug` each try is told.
struct Node {
    child: Child,
    folder: TempDir,
    admin: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (admin, nowhere) = (port(), port());
        let text = format!(
            "[admin]\nlisten = [\"tcp://{admin}\"]\n[sip]\nlisten = [\"tcp://127.0.0.1:0\"]\n[[cti]]\nname = \"cm1\"\n\
             address = \"csta://{nowhere}\"\nbackoff_min_ms = 20\nbackoff_max_ms = 50\n\
             [[user]]\nsip = \"sip:alice@contoso.com\"\nline = \"tel:+14255550101;ext=5101\"\ndevice = \"5101\"\n"
        );
        let file = folder.path().join("node.toml");
        fs::write(&file, text).unwrap();
        let log = fs::File::create(folder.path().join("node.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
        command.arg("serve").arg("--config").arg(file).env_remove("LYNCPIN_LOG").stdout(Stdio::null()).stderr(log);
        let node = Self { child: command.spawn().unwrap(), folder, admin: format!("http://{admin}") };
        node.until("it listens", || node.lines().iter().any(|line| line.contains("listening for operators")));
        node
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("node.log")
    }

    /// Whole lines.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
    }

    fn tries(&self) -> usize {
        self.lines().iter().filter(|line| line.contains("\"connecting\"")).count()
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < WITHIN, "not within {WITHIN:?}: {what}\n{}", self.lines().concat());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it was done, and what was said on either stream.
    fn ctl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyncpin"));
        command.args(["ctl", "--admin", &self.admin]).args(arguments).env("USER", "olga");
        let run = command.output().unwrap();
        (run.status.success(), [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
    }
}

#[test]
fn the_log_level_changes_while_a_node_runs_and_comes_back_by_itself() {
    let node = Node::start();
    for line in node.lines() {
        let line: Value =
            serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: into a file goes JSON: {line}"));
        assert!(line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
    }
    assert_eq!(node.ctl(&["log-level"]), (true, "info\n".to_owned()));
    assert_eq!(node.tries(), 0, "tries are told at debug alone");

    let (is_done, said) = node.ctl(&["log-level", "debug", "--for", "2s"]);
    assert!(is_done && said.starts_with("debug\n  info again in "), "{said}");
    node.until("tries are told", || node.tries() >= 3);
    node.until("it comes back", || node.ctl(&["log-level"]) == (true, "info\n".to_owned()));
    node.until("that is told", || node.lines().iter().any(|line| line.contains("as configured again")));
    let tries = node.tries();
    // Some 20 tries, if they were told.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(node.tries(), tries, "no more is told than before");

    let (is_done, said) = node.ctl(&["log-level", "inof"]);
    assert!(!is_done && said.contains("expected a level (off, error, warn, info, debug, trace)"), "{said}");
    let (is_done, said) = node.ctl(&["log-level", "error"]);
    assert!(is_done && said.contains("configured: info"), "{said}");
    let (is_done, said) = node.ctl(&["trace", "alice", "--for", "1s"]);
    assert!(is_done && said.contains("the trace has ended"), "{said}");
    assert_eq!(node.ctl(&["log-level", "--reset"]), (true, "info\n".to_owned()));

    // Also while only errors are written.
    for audited in [
        ["an operator changed the log level", "\"filter\":\"debug\"", "\"operator\":\"olga\"", "\"for_s\":2"],
        ["an operator changed the log level", "\"filter\":\"error\"", "\"operator\":\"olga\"", "\"peer\":\"127.0.0.1"],
        ["an operator follows a user", "\"user\":\"alice\"", "\"operator\":\"olga\"", "\"shows_numbers\":false"],
        ["an operator changed something", "POST /api/v1/trace", "\"operator\":\"olga\"", "\"status\":200"],
    ] {
        let lines = node.lines();
        let found = lines.iter().any(|line| audited.iter().all(|part| line.contains(part)));
        assert!(found, "{audited:?}\n{}", lines.concat());
    }
}
