//! Libraries put before a node's own: an fsync that lies, fails or takes long, and a clock that jumps. Each reads a file.

use std::fs;
use std::path::{Path, PathBuf};

use super::LiveError;
use super::inject::control_file;
use super::outside::run;

/// Reads the file named by `LYNCPIN_CHAOS_FSYNC` at each call: ok, lie, eio, or slow.
const SHIM: &str = r#"#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int ask(const char *name, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    const char *path = getenv("LYNCPIN_CHAOS_FSYNC");
    char word = 'o';
    int told = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (told >= 0) {
        if (read(told, &word, 1) != 1) word = 'o';
        close(told);
    }
    switch (word) {
    case 'l': return 0;
    case 'e': errno = EIO; return -1;
    case 's': usleep(300000); return real(fd);
    default: return real(fd);
    }
}
int fsync(int fd) { return ask("fsync", fd); }
int fdatasync(int fd) { return ask("fdatasync", fd); }
"#;

const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// Compiles the fsync shim; needs a C compiler.
pub fn build_shim(folder: &Path) -> Result<PathBuf, LiveError> {
    let (source, library) = (folder.join("fsync.c"), folder.join("fsync.so"));
    fs::write(&source, SHIM)?;
    run(&format!("cc -shared -fPIC -O1 -o {} {} -ldl", library.display(), source.display()))?;
    Ok(library)
}

pub fn faketime() -> Result<PathBuf, LiveError> {
    let found = FAKETIME.iter().map(PathBuf::from).find(|library| library.is_file());
    found.ok_or(LiveError::Unavailable("clock faults: libfaketime is not installed"))
}

/// What a node is started with, so that its fsync and its clock can be told what to do.
pub fn environment(folder: &Path, node: u32, shim: Option<&Path>, clock: Option<&Path>) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    if shim.is_some() {
        set("LYNCPIN_CHAOS_FSYNC", control_file(folder, "fsync", node).display().to_string());
    }
    if clock.is_some() {
        let file = control_file(folder, "clock", node);
        // Err: then the library says so, and the clock stays as it is.
        let _ = fs::write(&file, "+0");
        set("FAKETIME_TIMESTAMP_FILE", file.display().to_string());
        set("FAKETIME_NO_CACHE", "1".to_owned());
        set("DONT_FAKE_MONOTONIC", "1".to_owned());
    }
    let libraries: Vec<String> =
        [shim, clock].into_iter().flatten().map(|library| library.display().to_string()).collect();
    if !libraries.is_empty() {
        set("LD_PRELOAD", libraries.join(":"));
    }
    environment
}
