//! Call flows as transcripts: what arrives at a session, and what leaves it. Each file under `tests/scripts/session/` is
//! one, or several that each begin with `> new`.
//!
//! Lines that begin with `> ` go in, lines that begin with `< ` must come out, in this order; `#` comments and empty lines
//! are for the reader. Bodies are written as `session_flows/notation.rs` says. Inputs:
//!
//! ```text
//! > new | rule name=value | client Header: value | ...   a fresh session; what its client always sends
//! > signed in       INVITE, ACK, MonitorStart, link up, no calls: in one line
//! > invite [Header: value | ... ||] [body]   the sign-in, and later the re-INVITE; `none` for no body
//! > info BODY       an INFO with the next CSeq     > again info   the last one once more, byte for byte; @2: on flow 2
//! > update [headers]   > ack   > bye   > options   > cancel   > method NAME   > cseq N   the next request has this CSeq
//! > answer 200[/cseq] [headers]   the far side's answer to our last request, or to that one
//! > pbx BODY        the PBX's answer to the oldest service it has open
//! > pbx monitor | calls 4711=alerting ... | call 5202=connected ... calling=5202 called=5101 [correlator=hex]
//! > event NAME call/device caller>called state cause   or in full   an event of the PBX's present monitor
//! > later | late BODY   the oldest open service goes to the end | the one that failed last is answered after all
//! > times N LINE    N times, with {n} from 0
//! > stopped         the PBX stops its monitor
//! > lost | silent | unsent   the oldest open service is lost with its link | not answered in time | was never sent
//! > link up | link down | missed | undeliverable | retire closed | retire superseded
//! > wait MS         time passes; every deadline on the way fires
//! > resume          the actor restarts: the state is what its record says
//! > views           whether the client sees what is true
//! > profile         which product the session takes its client for
//! ```
//!
//! After every step the record goes through JSON and must come back the same; a CSeq of ours must never stand for two
//! different messages. `LYNCPIN_BLESS=1 cargo test --test session_flows` rewrites the `< ` lines: read the difference
//! before you keep it.

#[path = "session_flows/notation.rs"]
mod notation;
#[path = "session_flows/property.rs"]
mod property;
#[path = "session_flows/rig.rs"]
mod rig;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lyncpin::machine::profile::Profile;
use rig::Rig;

fn play(script: &str) -> String {
    let mut rig = Rig::new();
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with("< ") {
            continue;
        }
        writeln!(out, "{line}").expect("a string takes it");
        match line.strip_prefix("> ") {
            Some("new") => rig = Rig::new(),
            Some(input) => {
                rig.run(input);
                out.push_str(&std::mem::take(&mut rig.told));
            }
            None => {}
        }
    }
    out
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/session");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the scripts are there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_transcript_plays_as_written() {
    let bless = std::env::var_os("LYNCPIN_BLESS").is_some();
    let mut differ = Vec::new();
    let files = scripts();
    assert!(!files.is_empty());
    for path in &files {
        let script = std::fs::read_to_string(path).expect("readable");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!("{name}");
        let Ok(played) = std::panic::catch_unwind(|| play(&script)) else {
            differ.push(format!("{name}: does not play; see above"));
            continue;
        };
        if played == script {
            continue;
        }
        if bless {
            std::fs::write(path, played).expect("writable");
            continue;
        }
        let at = script.lines().zip(played.lines()).position(|(a, b)| a != b).unwrap_or(0);
        differ.push(format!(
            "{name} line {}:\n  written: {}\n  played:  {}",
            at + 1,
            script.lines().nth(at).unwrap_or("(end)"),
            played.lines().nth(at).unwrap_or("(end)")
        ));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn every_product_has_its_transcript() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/session/17-products.txt");
    let script = std::fs::read_to_string(file).expect("readable");
    for profile in Profile::ALL {
        let line = format!("< profile {}", profile.name());
        assert!(script.lines().any(|told| told == line), "no transcript of {}", profile.name());
    }
}
