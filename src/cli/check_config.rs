//! `lyncpin check-config`: everything that is wrong with a configuration, its users and the files it names.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::config::{Config, Problem, SecretError, SecretSource, load, reference, sort};
use crate::directory;

/// The arguments.
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// The configuration file.
    #[arg(required_unless_present = "reference")]
    pub file: Option<PathBuf>,
    /// Report as one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
    /// Print every key with its meaning and default instead, as a file to start from.
    #[arg(long, conflicts_with_all = ["file", "json"])]
    pub reference: bool,
}

/// What was found in one configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub file: String,
    pub faults: usize,
    pub warnings: usize,
    /// Links and users, counted when there is no fault.
    pub links: Option<usize>,
    pub users: Option<usize>,
    pub problems: Vec<Problem>,
}

impl CheckConfig {
    /// Status 0: the file can be used (there may be warnings); 1: it cannot.
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let Some(file) = &self.file else {
            out.write_all(reference().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        };
        let report = Report::of_file(file);
        match (self.json, report.is_good()) {
            (true, _) => writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?,
            (false, true) => out.write_all(report.to_string().as_bytes())?,
            (false, false) => err.write_all(report.to_string().as_bytes())?,
        }
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Report {
    /// Reads the file and all that it names.
    pub fn of_file(path: &Path) -> Self {
        let checked = load(path);
        let mut problems = checked.problems;
        let mut users = None;
        if problems.iter().all(|problem| !matches!(problem.rule, "unreadable" | "syntax" | "too_long")) {
            problems.extend(named_files(&checked.config));
            // Tables that are at fault as such are not checked as users, and their faults are not told twice.
            let is_told =
                |key: &str| problems.iter().any(|told| told.is_fault() && told.file.is_none() && told.key == key);
            let more = match directory::load(&checked.config, &checked.lines) {
                Ok(loaded) => {
                    users = Some(loaded.directory.len());
                    loaded.warnings
                }
                Err(faults) => faults,
            };
            let more: Vec<_> =
                more.into_iter().filter(|problem| problem.file.is_some() || !is_told(&problem.key)).collect();
            problems.extend(more);
            for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
                problem.line = problem.line.or_else(|| checked.lines.of(&problem.key));
            }
        }
        let mut report = Self::new(path.display().to_string(), problems);
        if report.is_good() {
            report.links = Some(checked.config.cti.len());
            report.users = users;
        }
        report
    }

    pub fn new(file: impl Into<String>, mut problems: Vec<Problem>) -> Self {
        sort(&mut problems);
        let faults = problems.iter().filter(|problem| problem.is_fault()).count();
        let warnings = problems.len() - faults;
        Self { file: file.into(), faults, warnings, links: None, users: None, problems }
    }

    pub fn is_good(&self) -> bool {
        self.faults == 0
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.file)?;
        match self.faults {
            0 => write!(f, "good ({}, {})", many(self.links, "CTI link"), many(self.users, "user"))?,
            faults => write!(f, "{}", many(Some(faults), "fault"))?,
        }
        match self.warnings {
            0 => writeln!(f)?,
            warnings => writeln!(f, ", {}", many(Some(warnings), "warning"))?,
        }
        for problem in &self.problems {
            writeln!(f, "\n{problem}")?;
        }
        Ok(())
    }
}

fn many(count: Option<usize>, word: &str) -> String {
    match count.unwrap_or(0) {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    }
}

/// Certificates and passwords: absent ones are faults; what only this user cannot read is a warning, since the service
/// may run as another user.
fn named_files(config: &Config) -> Vec<Problem> {
    let tls = &config.sip.tls;
    let certificates = [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)];
    let mut problems = Vec::new();
    for (name, path) in certificates {
        if let Some(Err(error)) = path.as_ref().map(std::fs::File::open) {
            let path = path.as_deref().unwrap_or(Path::new(""));
            problems.push(unreadable(format!("sip.tls.{name}"), path, error.kind()));
        }
    }
    for (n, link) in config.cti.iter().enumerate() {
        let Some(source) = link.password() else { continue };
        let Err(error) = source.load() else { continue };
        let key = match source {
            SecretSource::File(_) => format!("cti[{n}].password_file"),
            SecretSource::Environment(_) => format!("cti[{n}].password_env"),
        };
        problems.push(match error {
            SecretError::File { path, source } => unreadable(key, &path, source.kind()),
            SecretError::Environment { name } => Problem::warning("secret_unset", key)
                .value(format!("{name:?}"))
                .allowed("the environment variable is not set here")
                .remedy("set it where the gateway runs"),
            wrong @ (SecretError::Empty | SecretError::TooLong) => Problem::fault("secret_unfit", key)
                .allowed(wrong.to_string())
                .remedy("write the password into the first line"),
        });
    }
    problems
}

fn unreadable(key: String, path: &Path, kind: ErrorKind) -> Problem {
    let value = format!("{:?}", path.display().to_string());
    match kind {
        ErrorKind::NotFound => Problem::fault("unreadable", key)
            .value(value)
            .allowed("there is no such file")
            .remedy("check the path; one that is not absolute starts at the configuration's folder"),
        kind => Problem::warning("unreadable", key)
            .value(value)
            .allowed(format!("this user cannot read the file: {kind}"))
            .remedy("see that the user the gateway runs as can"),
    }
}
