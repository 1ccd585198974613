//! Which folder may name which.

use std::collections::BTreeMap;

use super::source::Source;

/// Folder or file of `src/` → its floor, as `src/lib.rs` lists them under `// floor N` lines.
pub fn of_lib(lib: &str) -> BTreeMap<String, usize> {
    let mut floors = BTreeMap::new();
    let mut floor = None;
    for line in lib.lines() {
        if let Some(rest) = line.strip_prefix("// floor ") {
            floor = rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
        } else if let Some(name) = line.strip_prefix("pub mod ").and_then(|line| line.strip_suffix(';'))
            && let Some(floor) = floor
        {
            floors.insert(name.to_owned(), floor);
        }
    }
    floors
}

/// Imports of one file that point up or sideways.
pub fn breaches(source: &Source, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let module = module_of(&source.path);
    let Some(own) = module.first().cloned() else { return Vec::new() };
    let Some(own_floor) = floors.get(&own) else { return Vec::new() };
    let mut found = Vec::new();
    for (line, target) in targets(&source.code, &module) {
        match floors.get(&target) {
            Some(floor) if target == own || floor < own_floor => {}
            Some(floor) => {
                found.push(format!("{}:{line}: {own} (floor {own_floor}) names {target} (floor {floor})", source.path));
            }
            None => {}
        }
    }
    found
}

/// `src/actor/link/clock.rs` → actor, link, clock.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_start_matches("src/").trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if matches!(stem, "lib" | "main") { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// The top folders a file names, each with its line.
fn targets(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "super"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let mut reader = Reader { text: code, at, module, tops: Vec::new() };
            reader.path(None);
            found.extend(reader.tops.into_iter().map(|top| (line, top)));
        }
    }
    found
}

/// Reads one path or tree of paths, as far as the top folder.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    module: &'a [String],
    tops: Vec<String>,
}

impl Reader<'_> {
    /// `here`: the module reached so far; `None` at the beginning.
    fn path(&mut self, mut here: Option<Vec<String>>) {
        loop {
            self.space();
            if self.eat("{") {
                loop {
                    self.path(here.clone());
                    self.space();
                    if !self.eat(",") {
                        break;
                    }
                }
                self.eat("}");
                return;
            }
            let word = self.word();
            if word.is_empty() {
                return;
            }
            here = match (word.as_str(), here) {
                ("crate", None) => Some(Vec::new()),
                ("super", here) => {
                    let mut here = here.unwrap_or_else(|| self.module.to_vec());
                    here.pop();
                    Some(here)
                }
                ("self", here) => here,
                (name, Some(mut here)) => {
                    if here.is_empty() {
                        self.tops.push(name.to_owned());
                    }
                    here.push(name.to_owned());
                    Some(here)
                }
                (_, None) => return,
            };
            self.space();
            if !self.eat("::") {
                // `as name` ends it too.
                if self.text[self.at..].starts_with("as ") {
                    self.word();
                    self.space();
                    self.word();
                }
                return;
            }
        }
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, what: &str) -> bool {
        let is_there = self.text[self.at..].starts_with(what);
        if is_there {
            self.at += what.len();
        }
        is_there
    }

    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }
}
