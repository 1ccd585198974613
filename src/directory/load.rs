//! All sources into one directory, or every fault of all of them.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::csv;
use super::row::{Place, Row};
use crate::config::{Config, Lines, Problem, UserEntry, examine_users, sort};
use crate::machine::directory::{Appearance, Directory, EntryFault, Fault};

/// Problems told of one directory; a spreadsheet gone wrong has one a line.
pub const PROBLEMS_MAX: usize = 200;

/// A directory that may be used, and what somebody should look at.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub directory: Arc<Directory>,
    pub warnings: Vec<Problem>,
}

/// Reads `[[user]]` and the users file of a checked configuration. `lines` tells where the configuration's keys stand.
/// Blocks on the file; on an `Err` the caller keeps the directory it has, or does not start.
pub fn load(config: &Config, lines: &Lines) -> Result<Loaded, Vec<Problem>> {
    let users_max = config.users.users_max;
    let lines = Arc::new(lines.clone());
    let mut rows = from_tables(&config.user, None, &lines);
    let mut faults = Vec::new();
    if let Some(path) = &config.users.file {
        let (more, problems) = from_file(path, config.users.file_bytes_max, (users_max + 1).saturating_sub(rows.len()));
        rows.extend(more);
        faults.extend(problems);
    }
    if rows.len() > users_max {
        let problem = Problem::fault("too_many_users", "").value(format!("{} users or more", rows.len()));
        let problem = problem.allowed(format!("at most users_max = {users_max} users are held"));
        let problem = problem.remedy("raise [users] users_max (up to 200000), or remove users");
        faults.push(rows[users_max].locate(problem, None));
        rows.truncate(users_max);
    }
    match Directory::new(rows.iter().map(|row| row.appearance.clone())) {
        Ok(directory) if faults.is_empty() => {
            let warnings = shared_stations(&directory, &rows);
            Ok(Loaded { directory: Arc::new(directory), warnings: shortened(warnings) })
        }
        Ok(_) => Err(shortened(faults)),
        Err(more) => {
            faults.extend(more.iter().map(|entry| problem_of(entry, &rows)));
            Err(shortened(faults))
        }
    }
}

fn problem_of(entry: &EntryFault, rows: &[Row]) -> Problem {
    let first = match entry.fault {
        Fault::Duplicate { first_row } => rows.get(first_row),
        _ => None,
    };
    rows[entry.row].problem(&entry.fault, first)
}

fn shared_stations(directory: &Directory, rows: &[Row]) -> Vec<Problem> {
    let shared = directory.shared_stations().into_iter();
    let told = shared.map(|shared| {
        let (first, row) = (&rows[shared.first_row], &rows[shared.row]);
        let problem = Problem::warning("station_shared", "").value(format!("{:?}", row.appearance.device));
        let whose = format!("{} and {}", row.appearance.sip, first.appearance.sip);
        let problem =
            problem.allowed(format!("{whose} ({}) have one station; only one can be signed in", first.name()));
        row.locate(problem.remedy("give each a station of their own, if that is not meant"), Some("device"))
    });
    told.collect()
}

/// At most [`PROBLEMS_MAX`], the last one saying how many more there are.
fn shortened(mut problems: Vec<Problem>) -> Vec<Problem> {
    sort(&mut problems);
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    if let Some(last) = problems.last_mut().filter(|_| more > 0) {
        last.remedy.push_str(&format!(" (and {more} more problems; mend these first)"));
    }
    problems
}

fn from_tables(users: &[UserEntry], file: Option<&Arc<str>>, lines: &Arc<Lines>) -> Vec<Row> {
    let row = |(index, user): (usize, &UserEntry)| Row {
        appearance: Appearance {
            sip: user.sip.trim().to_owned(),
            line: user.line.trim().to_owned(),
            device: user.device.trim().to_owned(),
            partition: user.partition.as_deref().map(|partition| partition.trim().to_owned()),
            licensed: user.licensed,
        },
        place: Place::Table { file: file.cloned(), index, lines: lines.clone() },
    };
    users.iter().enumerate().map(row).collect()
}

fn from_file(path: &Path, bytes_max: usize, rows_max: usize) -> (Vec<Row>, Vec<Problem>) {
    let name: Arc<str> = path.file_name().unwrap_or_default().to_string_lossy().into();
    let whole = |rule, allowed: String, remedy: &str| {
        let problem = Problem::fault(rule, "users.file").value(path.display().to_string());
        (Vec::new(), vec![problem.allowed(allowed).remedy(remedy)])
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    if let Err(error) = opened.and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)) {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        return whole("unreadable", why, "check the path and its permissions");
    }
    if bytes.len() > bytes_max {
        let allowed = format!("the file has more than file_bytes_max = {bytes_max} bytes");
        return whole("too_long", allowed, "raise [users] file_bytes_max, or check that this is the right file");
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv::read(&bytes, &name, rows_max, PROBLEMS_MAX + 1),
        Some("toml") => match std::str::from_utf8(&bytes) {
            Ok(text) => {
                let (users, problems, lines) = examine_users(text);
                let problems = problems.into_iter().map(|problem| Problem { file: Some(name.to_string()), ..problem });
                let problems: Vec<_> = problems.collect();
                if !problems.is_empty() {
                    return (Vec::new(), problems);
                }
                (from_tables(&users, Some(&name), &Arc::new(lines)), problems)
            }
            Err(_) => whole("csv_text", "the file is no UTF-8 text".to_owned(), "save it as UTF-8"),
        },
        _ => whole("users_file_kind", "a users file ends in .csv or .toml".to_owned(), "rename it"),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
