//! Source files as this test reads them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments, strings and `#[cfg(test)]` modules blanked out; lines stay where they are.
    pub code: String,
    pub lines: usize,
    /// Compiled for tests only.
    pub is_test: bool,
}

impl Source {
    pub fn of(path: &str, text: &str) -> Self {
        let is_test = path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("tests.rs");
        let code = without_tests(&blanked(text));
        Self { path: path.to_owned(), text: text.to_owned(), code, lines: text.lines().count(), is_test }
    }

    /// In one of these folders, which end in `/`, or one of these files.
    pub fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| if place.ends_with('/') { self.path.starts_with(place) } else { self.path == *place })
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under these folders, in order.
pub fn read_all(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| collect(&root().join(folder), &mut paths));
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            Source::of(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    let for_tests: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        source.is_test |= for_tests.iter().any(|test| module == test || module.starts_with(&format!("{test}/")));
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Modules a file declares for tests, as paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_for_tests = false;
    let stem = source.path.trim_end_matches(".rs");
    let folder = if stem.ends_with("/mod") { stem.trim_end_matches("/mod") } else { stem };
    for line in source.text.lines().map(str::trim) {
        if line.starts_with("#[cfg(test)]") {
            is_for_tests = true;
        } else if let Some(name) = line.strip_suffix(';').and_then(|line| line.rsplit("mod ").next())
            && is_for_tests
            && line.contains("mod ")
        {
            found.push(format!("{folder}/{name}"));
            is_for_tests = false;
        } else if !line.starts_with("#[") {
            is_for_tests = false;
        }
    }
    found
}

/// Words of a text with their lines, from 1.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().enumerate().flat_map(move |(at, line)| {
        line.split(move |c| !is_part(c)).filter(|w| !w.is_empty()).map(move |w| (at + 1, w))
    })
}

/// Loops and iterators over what is declared as a hash map or set in the same file, with their lines.
pub fn unordered_walks(code: &str) -> impl Iterator<Item = (usize, String)> {
    let mut names = BTreeSet::new();
    for line in code.lines() {
        for kind in ["HashMap", "HashSet", "HashTable"] {
            let Some(at) = line.find(kind) else { continue };
            let before = line[..at].trim_end_matches("::").trim_end().trim_end_matches([':', '=']).trim_end();
            let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
            if !name.is_empty() && !matches!(name, "use" | "collections" | "hashbrown" | "std") {
                names.insert(name.to_owned());
            }
        }
    }
    let mut found = Vec::new();
    for (at, line) in code.lines().enumerate() {
        for name in &names {
            let calls = ["iter(", "iter_mut(", "into_iter(", "keys(", "values(", "values_mut(", "drain(", "retain("];
            let is_call = calls.iter().any(|call| has_word(line, &format!("{name}.{call}")));
            let is_loop = line.split_once(" in ").is_some_and(|(head, tail)| {
                let walked = tail.split(['{', ' ']).find(|part| !part.is_empty()).unwrap_or_default();
                head.contains("for ") && walked.trim_start_matches(['&', '*']).rsplit('.').next() == Some(name)
            });
            if is_call || is_loop {
                found.push((at + 1, line.trim().to_owned()));
            }
        }
    }
    found.into_iter()
}

/// Whether `text` holds `wanted`, not as the end of a longer word.
fn has_word(text: &str, wanted: &str) -> bool {
    text.match_indices(wanted).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Comments and the insides of strings become spaces.
fn blanked(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| bytes.get(at + n) == Some(&c));
    let blank = |out: &mut String, c: char| out.push(if c == '\n' { '\n' } else { ' ' });
    while at < bytes.len() {
        let c = bytes[at];
        let after_word = at > 0 && (bytes[at - 1].is_alphanumeric() || bytes[at - 1] == '_');
        let end = if starts(at, "//") {
            bytes[at..].iter().position(|c| *c == '\n').map_or(bytes.len(), |n| at + n)
        } else if starts(at, "/*") {
            (at + 2..bytes.len()).find(|n| starts(*n, "*/")).map_or(bytes.len(), |n| n + 2)
        } else if let Some(hashes) = raw_string(&bytes, at).filter(|_| !after_word || bytes[at - 1] == 'b') {
            let close = format!("\"{}", "#".repeat(hashes));
            (at + hashes + 2..bytes.len()).find(|n| starts(*n, &close)).map_or(bytes.len(), |n| n + 1 + hashes)
        } else if c == '"' {
            let mut n = at + 1;
            while n < bytes.len() && bytes[n] != '"' {
                n += if bytes[n] == '\\' { 2 } else { 1 };
            }
            (n + 1).min(bytes.len())
        } else if c == '\'' && (bytes.get(at + 1) == Some(&'\\') || bytes.get(at + 2) == Some(&'\'')) {
            (at + 3..bytes.len())
                .find(|n| bytes[*n - 1] == '\'' || bytes[*n] == '\'')
                .map_or(bytes.len(), |n| if bytes[n - 1] == '\'' { n } else { n + 1 })
        } else {
            out.push(c);
            at += 1;
            continue;
        };
        bytes[at..end].iter().for_each(|c| blank(&mut out, *c));
        at = end;
    }
    out
}

/// The number of `#` of a raw string that begins here.
fn raw_string(text: &[char], at: usize) -> Option<usize> {
    if text.get(at) != Some(&'r') {
        return None;
    }
    let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
    (text.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// `#[cfg(test)] mod x { … }` becomes empty lines.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let opens = |line: &&str| line.contains("mod ") && line.trim_end().ends_with('{');
        if line.trim() != "#[cfg(test)]" || !lines.peek().is_some_and(opens) {
            continue;
        }
        let mut depth = 0_i64;
        for line in lines.by_ref() {
            depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
            out.push('\n');
            if depth <= 0 {
                break;
            }
        }
    }
    out
}

#[test]
fn what_the_compiler_does_not_see_as_code_is_not_read_as_code() {
    let text = "let a = \"todo!\"; // dbg!\nlet b = '\"'; let c = r#\"x \" y\"#; /* z\n */ let d = '\\'' ; f(b'\\\\', \"\\\"q\")";
    let code = blanked(text);
    assert_eq!(code.lines().count(), text.lines().count());
    let seen: Vec<_> = words(&code).map(|(_, word)| word).collect();
    assert_eq!(seen, ["let", "a", "let", "b", "let", "c", "let", "d", "f", "b"]);
    let tests = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x { y } }\n}\nfn c() {}";
    let seen: Vec<_> = words(&without_tests(tests)).map(|(line, word)| format!("{word}{line}")).collect();
    assert_eq!(seen, ["fn1", "a1", "cfg2", "test2", "fn6", "c6"]);
}
