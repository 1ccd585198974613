//! Taste as a test: the floors of `src/lib.rs`, and what else a reader may rely on without looking.

mod floors;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::{Source, read_all, words};

/// Lines a file may have; more than [`LINES_USUAL`] with a reason in [`LONG_FILES`] alone.
const LINES_MAX: usize = 700;
const LINES_USUAL: usize = 450;

/// Longer than most, and why they are not split.
const LONG_FILES: &[(&str, &str)] = &[
    ("src/machine/session/pbx.rs", "one machine: the PBX side of a session, its states beside each other"),
    ("src/client/call_view.rs", "one match over all events is what a client believes"),
    ("src/actor/link/tests.rs", "one scenario after the other over one rig"),
    ("src/actor/dynamic/tests.rs", "one scenario after the other over one rig"),
    ("src/actor/tree/tests.rs", "one scenario after the other over one rig"),
    ("tests/takeover/pair.rs", "everything that is done to a pair from outside stands together"),
    ("tests/link_loss.rs", "one scenario after the other over one lab"),
    ("tests/session_flows/property.rs", "the generator and the law it is held to are read together"),
    ("tests/session_flows/rig.rs", "one player for every line of the transcripts' notation"),
];

/// Words that may stand in some folders or files alone: who may, and why nobody else.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (
        &["actix", "actix_rt"],
        &["src/actor/", "src/gateway.rs", "src/gateway/"],
        "carriers alone know what carries them",
    ),
    (&["openssl", "tokio_openssl"], &["src/transport/legacy.rs", "src/transport/tests/legacy.rs"], "an optional build"),
    (
        &["lyncpin_cluster"],
        &["src/store.rs", "src/store/", "src/mutant.rs"],
        "the only file that names both what machines remember and the cluster",
    ),
    (&["rustls", "tokio_rustls", "webpki"], &["src/transport/"], "bytes in and out"),
    (&["quick_xml"], &["src/csta/"], "whoever needs XML asks csta"),
];

/// What a decision, or the words it is made of, must not know.
const IMPURE: &[&str] = &[
    "async",
    "await",
    "tokio",
    "actix",
    "futures_util",
    "Instant",
    "SystemTime",
    "tracing",
    "println",
    "eprintln",
    "rand",
    "getrandom",
    "RandomState",
    "thread",
    "thread_local",
    "TcpStream",
    "File",
];
const PURE: &[&str] = &["src/machine/", "src/sip/", "src/csta/", "src/id.rs"];

fn fail_if_any(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
}

fn product() -> Vec<Source> {
    let all = read_all(&["src"]);
    assert!(all.len() > 100, "the sources are where this test looks");
    all.into_iter().filter(|source| !source.is_test).collect()
}

#[test]
fn an_import_points_down_or_sideways_inside_one_folder() {
    let lib = std::fs::read_to_string(source::root().join("src/lib.rs")).unwrap();
    let floors = floors::of_lib(&lib);
    assert!(floors.len() > 10, "{floors:?}");
    let wrong: Vec<String> = product().iter().flat_map(|source| floors::breaches(source, &floors)).collect();
    fail_if_any("imports that point up, or sideways into another folder", &wrong);
}

#[test]
fn the_floor_check_sees_every_spelling_of_an_import() {
    let lib =
        "// floor 0: words\npub mod sip;\n// floor 1\npub mod machine;\n// floor 2\npub mod cti;\npub mod store;\n";
    let floors = floors::of_lib(lib);
    let breaches = |path: &str, text: &str| floors::breaches(&Source::of(path, text), &floors).len();
    for up in [
        "use crate::cti::AskId;",
        "use crate::{sip::Message, cti::AskId};",
        "use crate::{\n    sip,\n    cti::{AskId, LinkFailed},\n};",
        "use super::super::cti;",
        "fn f() -> crate::cti::AskId { todo() }",
        "pub use crate::cti as elsewhere;",
    ] {
        assert_eq!(breaches("src/machine/session.rs", up), 1, "{up}");
    }
    assert_eq!(breaches("src/store.rs", "use crate::cti::AskId;"), 1, "sideways into another folder");
    for fine in [
        "use crate::sip::Message;",
        "use crate::machine::call;",
        "use super::{call, dialog};",
        "// crate::cti is not named here\nconst A: &str = \"crate::cti\";",
        "#[cfg(test)]\nmod tests {\n    use crate::cti::AskId;\n}",
        "pub(crate) fn f() {}\npub(in crate::machine) fn g() {}",
    ] {
        assert_eq!(breaches("src/machine/session.rs", fine), 0, "{fine}");
    }
}

#[test]
fn decisions_have_no_clock_no_chance_no_input_and_no_voice() {
    let mut found = Vec::new();
    for source in product().iter().filter(|source| source.is_under(PURE)) {
        for (line, word) in words(&source.code) {
            if IMPURE.contains(&word) {
                found.push(format!("{}:{line}: {word}", source.path));
            }
        }
        found.extend(
            source::unordered_walks(&source.code).map(|(line, walk)| format!("{}:{line}: {walk}", source.path)),
        );
    }
    fail_if_any("pure code that is not", &found);
}

#[test]
fn a_walk_over_an_unordered_map_is_seen() {
    let walks = |code: &str| source::unordered_walks(code).count();
    let map = "struct S { open: HashMap<u32, u32> }\nfn f(s: &S) { ";
    for walk in ["for (a, b) in &s.open {}", "s.open.iter();", "s.open.keys();", "s.open.values();", "s.open.drain();"]
    {
        assert_eq!(walks(&format!("{map}{walk} }}")), 1, "{walk}");
    }
    assert_eq!(walks("fn f() { let mut seen = HashSet::new(); for a in seen {} }"), 1);
    assert_eq!(walks(&format!("{map}s.open.get(&1); s.other.iter(); }}")), 0);
}

#[test]
fn some_words_stand_in_their_own_place_alone() {
    let mut found = Vec::new();
    for source in read_all(&["src"]) {
        for (line, word) in words(&source.code) {
            for (_, _, why) in
                RESERVED.iter().filter(|(reserved, places, _)| reserved.contains(&word) && !source.is_under(places))
            {
                found.push(format!("{}:{line}: {word} ({why})", source.path));
            }
        }
    }
    fail_if_any("words out of place", &found);
}

#[test]
fn nothing_is_left_to_do_and_no_product_code_unwraps() {
    let mut found = Vec::new();
    for source in read_all(&["src", "tests", "cluster/src", "chaos/src"]) {
        if source.path == "tests/tidy/main.rs" {
            continue;
        }
        for (line, text) in source.code.lines().enumerate() {
            let unfinished = ["todo!", "unimplemented!", "dbg!"].iter().any(|word| text.contains(word));
            let unreasoned = text.trim() == "#[ignore]";
            let unwraps = !source.is_test && text.contains(".unwrap()");
            if unfinished || unreasoned || unwraps {
                found.push(format!("{}:{}: {}", source.path, line + 1, text.trim()));
            }
        }
    }
    fail_if_any("unfinished", &found);
}

#[test]
fn files_are_of_a_size_to_be_read() {
    let mut found = Vec::new();
    for source in read_all(&["src", "tests", "cluster/src", "chaos/src"]) {
        let is_excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        let max = if is_excused { LINES_MAX } else { LINES_USUAL };
        if source.lines > max {
            found.push(format!("{}: {} lines, at most {max}", source.path, source.lines));
        }
    }
    for (path, _) in LONG_FILES {
        if !source::root().join(path).exists() {
            found.push(format!("{path} is excused and not there"));
        }
    }
    fail_if_any("too long", &found);
}

#[test]
fn every_limit_of_the_configuration_is_carried_out_and_has_a_test() {
    let all = read_all(&["src", "tests"]);
    let settings = all.iter().filter(|source| source.path.starts_with("src/config/") && !source.is_test);
    let limits: BTreeSet<&str> = settings
        .flat_map(|source| source.code.lines().filter_map(|line| line.trim().split_once(": ")))
        .map(|(key, _)| key)
        .filter(|key| key.ends_with("_max") && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    assert!(limits.len() >= 12, "{limits:?}");
    let mut found = Vec::new();
    for limit in limits {
        // Text of tests counts too: a configuration stands there as a string.
        let names = |source: &&Source| words(&source.text).any(|(_, word)| word == limit);
        let elsewhere = || all.iter().filter(|source| !source.path.starts_with("src/config/")).filter(names);
        if !elsewhere().any(|source| !source.is_test) {
            found.push(format!("{limit} has no effect"));
        }
        // This file asks for a test, it is none.
        if !elsewhere().any(|source| source.is_test && !source.path.starts_with("tests/tidy/")) {
            found.push(format!("{limit} has no test"));
        }
    }
    fail_if_any("limits", &found);
}

#[test]
fn nothing_waits_in_a_queue_without_a_bound() {
    let mut found = Vec::new();
    for source in product() {
        for (line, word) in words(&source.code).filter(|(_, word)| word.starts_with("unbounded")) {
            found.push(format!("{}:{line}: {word}", source.path));
        }
    }
    fail_if_any("unbounded queues", &found);
}

#[test]
fn the_excuses_say_why() {
    assert!(LONG_FILES.iter().all(|(path, why)| Path::new(path).extension().is_some() && why.len() > 20));
}
