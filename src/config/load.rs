//! From text or file to a checked configuration.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, sort};
use super::reader::{Input, Key, Lines, Setting};
use super::section::UsersFile;
use super::{Config, UserEntry, cross};

/// Size of a configuration file at most; many users belong into the users file.
pub const CONFIG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A configuration and everything that was found; with a fault among the problems it must not be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub config: Config,
    /// Sorted by place.
    pub problems: Vec<Problem>,
    /// Where keys stand, for whoever checks further.
    pub lines: Lines,
}

impl Checked {
    pub fn has_faults(&self) -> bool {
        self.problems.iter().any(Problem::is_fault)
    }
}

/// The configuration, or every fault and warning at once.
pub fn check(text: &str) -> Result<Config, Vec<Problem>> {
    let checked = examine(text);
    if checked.has_faults() { Err(checked.problems) } else { Ok(checked.config) }
}

/// As [`check`], for a caller who also wants warnings and line numbers.
pub fn examine(text: &str) -> Checked {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > CONFIG_BYTES_MAX {
        let problem = Problem::fault("too_long", "").value(format!("{} bytes", text.len()));
        let problem = problem.allowed(format!("a configuration has at most {CONFIG_BYTES_MAX} bytes"));
        let problem = problem.remedy("put the users into a file of their own and name it in [users] file");
        return Checked { config: Config::default(), problems: vec![problem], lines: Lines::default() };
    }
    let (config, mut problems, lines) = read::<Config>(text);
    if problems.iter().all(|problem| problem.rule != "syntax") {
        problems.extend(cross::check(&config, &lines, &problems));
    }
    sort(&mut problems);
    Checked { config, problems, lines }
}

/// The `[[user]]` tables of a users file, with what is wrong and where they stand.
pub fn examine_users(text: &str) -> (Vec<UserEntry>, Vec<Problem>, Lines) {
    let (file, problems, lines) = read::<UsersFile>(text.strip_prefix('\u{feff}').unwrap_or(text));
    (file.user, problems, lines)
}

fn read<T: Setting + Default>(text: &str) -> (T, Vec<Problem>, Lines) {
    let known = T::keys("").into_iter().filter(|key| !key.is_table).map(|key| key.path).collect();
    let input = Input::new(text, known);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        let problem = Problem::fault("syntax", "").at(Some(input.line(&span)));
        let problem = Problem { column: Some(input.column(&span)), ..problem };
        input.tell(
            problem.allowed(format!("this is no TOML: {}", error.message())).remedy("mend the line; see toml.io"),
        );
    }
    let span = document.span();
    let document = Spanned::new(span, DeValue::Table(document.into_inner()));
    let found = T::read(&input, &document, "", "a table").unwrap_or_default();
    let (mut problems, lines) = input.finish();
    let broken: Vec<_> = problems.iter().filter(|problem| problem.rule == "syntax").map(|p| p.line).collect();
    if let Some(first) = broken.iter().min() {
        // What the parser skipped is not missing, what it made of a broken line is not what was meant, and keys behind a
        // broken table header land in another table.
        problems.retain(|p| match p.rule {
            "syntax" => true,
            "missing" => false,
            "unknown_key" => p.line < *first,
            _ => !broken.contains(&p.line),
        });
    }
    (found, problems, lines)
}

/// Reads a file; its relative paths start at its folder. A file that cannot be read is a problem like any other.
pub fn load(path: &Path) -> Checked {
    let unreadable = |why: String, remedy: &str| Checked {
        config: Config::default(),
        problems: vec![Problem::fault("unreadable", path.display().to_string()).allowed(why).remedy(remedy)],
        lines: Lines::default(),
    };
    let bytes = match read_bounded(path, CONFIG_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            return unreadable(format!("the file cannot be read: {error}"), "check the path and its permissions");
        }
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return unreadable("the file is no UTF-8 text".to_owned(), "save it as UTF-8");
    };
    let mut checked = examine(&text);
    checked.config.rebase(path.parent().unwrap_or(Path::new("")));
    checked
}

/// One byte more than allowed tells that a file is too long.
fn read_bounded(path: &Path, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Every key with its meaning, its default and what is allowed, as a TOML file in which every key is commented out.
pub fn reference() -> String {
    let mut text = String::new();
    for Key { path, doc, default, is_required, is_table, allowed } in Config::keys("") {
        let doc: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
        if is_table {
            let is_list = Config::keys("").iter().any(|key| key.path.starts_with(&format!("{path}[]")));
            let header = if is_list { format!("#[[{path}]]") } else { format!("[{path}]") };
            text.push_str(&format!("\n# {}\n{header}\n", doc.join("\n# ")));
            continue;
        }
        let name = path.rsplit('.').next().unwrap_or(&path);
        let must = if is_required { " Must be given." } else { "" };
        let value = default.unwrap_or_default();
        let line = format!("#{name} = {value}");
        text.push_str(&format!("# {} Allowed: {allowed}.{must}\n{}\n", doc.join("\n# "), line.trim_end()));
    }
    text.trim_start().to_owned()
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
