//! An entry with the place it was read from.

use std::sync::Arc;

use crate::config::{Lines, Problem};
use crate::machine::directory::{Appearance, Fault};

/// Where an entry was read.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A `[[user]]` table: of the configuration (`file` is `None`) or of a TOML file.
    Table { file: Option<Arc<str>>, index: usize, lines: Arc<Lines> },
    /// A line of a CSV file, with the field number of each column.
    Line { file: Arc<str>, line: usize, columns: Arc<[(&'static str, usize)]> },
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub appearance: Appearance,
    pub place: Place,
}

impl Row {
    /// The problem's key, file, line and column filled in; `field` is `None` for the entry as a whole.
    pub fn locate(&self, problem: Problem, field: Option<&str>) -> Problem {
        match &self.place {
            Place::Table { file, index, lines } => {
                let key = match field {
                    Some(field) => format!("user[{index}].{field}"),
                    None => format!("user[{index}]"),
                };
                Problem { file: file.as_deref().map(str::to_owned), line: lines.of(&key), key, ..problem }
            }
            Place::Line { file, line, columns } => {
                let column = columns.iter().find(|(name, _)| Some(*name) == field).map(|(_, column)| *column);
                let key = field.unwrap_or("entry").to_owned();
                Problem { file: Some(file.to_string()), line: Some(*line), column, key, ..problem }
            }
        }
    }

    /// `user[3]` or `users.csv line 17`, to be named in another entry's problem.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Table { file, index, lines } => {
                let key = format!("user[{index}]");
                let file = file.as_deref().map(|file| format!("{file} ")).unwrap_or_default();
                match lines.of(&key) {
                    Some(line) => format!("{file}line {line}"),
                    None => format!("{file}{key}"),
                }
            }
            Place::Line { file, line, .. } => format!("{file} line {line}"),
        }
    }

    fn field(&self, name: &str) -> &str {
        match name {
            "sip" => &self.appearance.sip,
            "line" => &self.appearance.line,
            "device" => &self.appearance.device,
            _ => self.appearance.partition.as_deref().unwrap_or_default(),
        }
    }

    /// The administrator's view of a fault of this entry; `first` is the entry a duplicate repeats.
    pub fn problem(&self, fault: &Fault, first: Option<&Row>) -> Problem {
        let (rule, allowed, remedy) = match fault {
            Fault::Sip => {
                ("sip_address", "allowed is a SIP address such as sip:alice@contoso.com".to_owned(), "write it so")
            }
            Fault::LineScheme => (
                "line_uri",
                "a Line URI begins with tel: (or sip:), as in the user's account".to_owned(),
                "write e.g. tel:+14255550101;ext=5101",
            ),
            Fault::Line(error) => ("line_uri", format!("the Line URI {error}"), "write e.g. tel:+14255550101;ext=5101"),
            Fault::DeviceEmpty => (
                "no_device",
                "allowed is the call manager's name for the phone".to_owned(),
                "write e.g. 5101 or SEP001122334455",
            ),
            Fault::TooLong { .. } => ("too_long", format!("the text {fault}"), "shorten it"),
            Fault::Duplicate { .. } => {
                let first = first.map(Row::name).unwrap_or_default();
                ("user_twice", format!("{first} has the same user, line and device"), "remove one of the two")
            }
            Fault::TooMany => ("too_many_users", format!("this entry {fault}"), "shard the users over several pairs"),
        };
        let problem = Problem::fault(rule, "").allowed(allowed).remedy(remedy);
        let problem = match fault.field() {
            Some(field) => problem.value(format!("{:?}", self.field(field))),
            None => problem.value(format!("{} {} {}", self.field("sip"), self.field("line"), self.field("device"))),
        };
        self.locate(problem, fault.field())
    }
}
