//! The machine's own tools.

use std::ffi::OsString;
use std::process::Command;

use super::LiveError;

/// Runs one command to its end; its standard output. An `Err` tells what it said.
pub fn run(line: &str) -> Result<String, LiveError> {
    let mut words = line.split_whitespace();
    let failed = |says: String| LiveError::Command { command: line.to_owned(), says };
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// Whether a program of that name can be run.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
    })
}

/// Others' work must not look like our fault.
const NICE: &str = "-10";

/// Runs this program again inside namespaces that vanish with it, before others' work; its exit status.
pub fn in_a_world(arguments: &[OsString]) -> u8 {
    let child = std::env::current_exe().and_then(|program| {
        let unshare = ["-n", NICE, "unshare", "--net", "--mount", "--propagation", "private", "--"];
        Command::new("nice").args(unshare).arg(program).args(arguments).status()
    });
    match child {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2),
        Err(error) => {
            eprintln!("chaos: unshare: {error}");
            2
        }
    }
}
