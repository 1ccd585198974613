//! Taste as a test: the floors of `src/lib.rs`, what the decisions may not touch, and how large a file may grow.

use std::fs;
use std::path::Path;

/// Folder or file under `src/` → floor. An import points down, or stays in its folder.
const FLOORS: [(&str, u8); 18] = [
    ("sip", 0),
    ("csta", 0),
    ("config", 0),
    ("id", 0),
    ("machine", 1),
    ("transport", 2),
    ("cti", 2),
    ("directory", 2),
    ("client", 2),
    ("store", 2),
    ("telemetry", 2),
    ("clock", 2),
    ("actor", 3),
    ("lab", 3),
    ("gateway", 4),
    ("cli", 5),
    ("lib", 6),
    ("main", 6),
];

/// Words the decisions do not know: time, chance, the world, and order that is none.
const NOT_IN_MACHINE: [&str; 10] =
    ["async fn", "std::time", "tokio", "actix", "tracing", "getrandom", "rand::", "HashMap", "println!", "std::net"];

/// Longer than this there is a seam to be found.
const LINES_MAX: usize = 600;

struct File {
    place: String,
    /// Without the tests at its end.
    code: String,
    lines: usize,
}

fn sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !is_test(&path) {
                let text = fs::read_to_string(&path).expect("UTF-8");
                let place = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                files.push(File { place, code, lines: text.lines().count() });
            }
        }
    }
    assert!(files.len() > 100, "the sources are found");
    files
}

/// Test modules in files of their own, and what only they use.
fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    text.contains("/tests/") || name.ends_with("tests") || name.starts_with("fake") || name == "walk" || name == "check"
}

fn room(place: &str) -> &str {
    place.split(['/', '.']).next().unwrap_or_default()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Every `crate::x` in code, whether in a `use` or in a path.
fn rooms_used(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

fn climbs(file: &File) -> Vec<String> {
    let own = room(&file.place);
    let own_floor = floor(own).unwrap_or_else(|| panic!("{own} has no floor: name it in src/lib.rs and here"));
    let mut found = Vec::new();
    for used in rooms_used(&file.code) {
        let Some(its) = floor(used) else { continue };
        // Edges do not know each other, but time and telling belong to all.
        let is_sideways = used == own
            || (its == own_floor && matches!(used, "clock" | "telemetry" | "config" | "id" | "sip" | "csta"));
        // The simulated users are an RCC client at work, the embedded PBX a carrier of the gateway's.
        if its > own_floor || (its == own_floor && !is_sideways) {
            found.push(format!("{} uses {used}, which is not below it", file.place));
        }
    }
    found
}

#[test]
fn imports_point_down() {
    let found: Vec<String> = sources().iter().flat_map(climbs).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_import_that_climbs_is_seen() {
    let planted = |place: &str, code: &str| climbs(&File { place: place.into(), code: code.into(), lines: 1 }).len();
    assert_eq!(planted("machine/session/mod.rs", "use crate::actor::node::Node;\nuse crate::sip::Message;\n"), 1);
    assert_eq!(planted("transport/tls.rs", "use crate::cti::Address;\n"), 1);
    assert_eq!(planted("actor/door.rs", "use crate::machine::rules::Rules;\n// crate::gateway\n"), 0);
}

#[test]
fn decisions_touch_no_world() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| room(&file.place) == "machine") {
        for line in file.code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let word = NOT_IN_MACHINE.iter().find(|word| line.contains(**word));
            found.extend(word.map(|word| format!("{}: {word} in `{}`", file.place, line.trim())));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn libraries_stay_behind_their_doors() {
    let mut found = Vec::new();
    for file in sources() {
        let may = |word: &str| match word {
            "actix::" => matches!(room(&file.place), "actor" | "gateway"),
            "openssl" => file.place.starts_with("transport/"),
            "lyncpin_cluster" => file.place == "store.rs",
            _ => true,
        };
        for line in file.code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let word =
                ["actix::", "openssl", "lyncpin_cluster"].into_iter().find(|word| line.contains(word) && !may(word));
            found.extend(word.map(|word| format!("{}: {word}", file.place)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_can_be_held_in_mind_and_are_finished() {
    let mut found = Vec::new();
    for file in sources() {
        if file.lines > LINES_MAX {
            found.push(format!("{} has {} lines", file.place, file.lines));
        }
        for mark in ["todo!(", "unimplemented!(", "dbg!("] {
            if file.code.contains(mark) {
                found.push(format!("{} has {mark}", file.place));
            }
        }
        if file.code.contains("#[ignore]") {
            found.push(format!("{} ignores a test without a reason", file.place));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
