//! What is wrong with a configuration: one finding a place, all of them at once.

use std::fmt;

use serde::Serialize;

/// Whether the gateway starts all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used.
    Fault,
    /// The file is used; somebody should look.
    Warning,
}

/// One finding. The texts are for the administrator, `rule` is for programs and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// `None`: the configuration file itself.
    pub file: Option<String>,
    /// From 1; `None` when something is missing altogether.
    pub line: Option<usize>,
    /// From 1: characters in TOML, fields in CSV.
    pub column: Option<usize>,
    /// `cti[8].name`, counted from 0; empty when the text as a whole is meant.
    pub key: String,
    /// As written, shortened; `None` when nothing is there. Secrets are never repeated.
    pub value: Option<String>,
    pub rule: &'static str,
    /// What is allowed.
    pub allowed: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    pub fn fault(rule: &'static str, key: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fault,
            file: None,
            line: None,
            column: None,
            key: key.into(),
            value: None,
            rule,
            allowed: String::new(),
            remedy: String::new(),
        }
    }

    pub fn warning(rule: &'static str, key: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::fault(rule, key) }
    }

    pub fn at(self, line: Option<usize>) -> Self {
        Self { line, ..self }
    }

    /// Shortened to 80 characters; control characters are escaped, so that a report never moves the cursor.
    pub fn value(self, value: impl AsRef<str>) -> Self {
        const CHARS_MAX: usize = 80;
        let clean: String = value.as_ref().chars().flat_map(escaped).collect();
        let short = match clean.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => format!("{}...", &clean[..end]),
            None => clean,
        };
        Self { value: Some(short), ..self }
    }

    pub fn allowed(self, allowed: impl Into<String>) -> Self {
        Self { allowed: allowed.into(), ..self }
    }

    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    pub fn is_fault(&self) -> bool {
        self.severity == Severity::Fault
    }
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let escape = c.is_control().then(|| c.escape_default());
    let plain = escape.is_none().then_some(c);
    escape.into_iter().flatten().chain(plain)
}

/// `lyncpin.toml:31: cti[8].name = "cm9"` and below it what is allowed and what to do.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Fault => "fault: ",
            Severity::Warning => "warning: ",
        })?;
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: ")?,
            (Some(line), None) => write!(f, "line {line}: ")?,
            _ => {}
        }
        f.write_str(if self.key.is_empty() { "the text" } else { &self.key })?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, "\n  {}", self.allowed)?;
        write!(f, "\n  -> {}", self.remedy)
    }
}

/// Sorted as the administrator reads: by file, then line, then key.
pub fn sort(problems: &mut [Problem]) {
    problems.sort_by(|a, b| {
        let place = |p: &Problem| (p.file.clone(), p.line, p.column);
        place(a).cmp(&place(b)).then_with(|| a.severity.cmp(&b.severity)).then_with(|| a.key.cmp(&b.key))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shortened_and_cannot_move_the_cursor() {
        let problem = Problem::fault("form", "a").value(format!("\u{1b}[2J{}", "é".repeat(100)));
        let value = problem.value.expect("set");
        assert!(value.starts_with("\\u{1b}[2Jéé"), "{value}");
        assert_eq!(value.chars().count(), 83);
    }
}
