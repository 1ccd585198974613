//! A program of somebody else's in front of the pair: there or not, started with the file that `deploy/` ships.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::pair::tell_tail;

/// Whether a Debian package's program is here. Not being here is a failure where `LYNCPIN_REQUIRE_PARTS` says so.
pub fn is_here(program: &str, package: &str) -> bool {
    let is_here = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    if !is_here {
        let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
        assert!(!required, "{program} is required and not installed: apt-get install {package}");
        eprintln!("\n*** NOT TESTED: {program} is not installed (apt-get install {package}) ***\n");
    }
    is_here
}

/// A file of `deploy/` with its example values replaced, each of which must stand in it.
pub fn shipped(file: &str, replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let mut text = fs::read_to_string(&path).unwrap();
    for (example, real) in replacements {
        assert!(text.contains(example), "{file} has no {example:?}");
        text = text.replace(example, real);
    }
    assert!(!text.contains("192.0.2."), "an example address of {file} is left:\n{text}");
    text
}

/// The running program; it ends with this.
pub struct Part {
    child: Child,
    folder: TempDir,
}

impl Drop for Part {
    fn drop(&mut self) {
        // SIGTERM first: a program with children of its own ends them then, and not when it is killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        for _ in 0..300 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Err: it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            tell_tail(&self.folder.path().join("log"));
        }
    }
}

impl Part {
    /// `arguments` makes them from the folder the program has for itself.
    pub fn start(program: &str, folder: TempDir, arguments: impl Fn(&Path) -> Vec<String>) -> Self {
        let log = || fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(arguments(folder.path()))
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
