//! `lyncpin serve`: the arguments, and what must be in order before anything listens.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::check_config::Report;
use crate::config::{Config, Lines, Problem, load};
use crate::directory::DirectoryWatch;

/// Serve; without a configuration: on loopback, with a simulated PBX and demo users.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A checked configuration and its directory.
#[derive(Debug)]
pub struct Prepared {
    pub config: Config,
    pub directory: Arc<DirectoryWatch>,
    /// To be logged once logging is up.
    pub warnings: Vec<Problem>,
}

impl Serve {
    /// An `Err` is a report to print; nothing has been started.
    pub fn prepare(&self) -> Result<Prepared, Report> {
        let Some(path) = &self.config else {
            let config = Config::embedded();
            return match DirectoryWatch::open(&config, &Lines::default()) {
                Ok((directory, warnings)) => Ok(Prepared { config, directory: Arc::new(directory), warnings }),
                Err(problems) => Err(Report::new("the built-in configuration", problems)),
            };
        };
        let report = Report::of_file(path);
        if !report.is_good() {
            return Err(report);
        }
        let checked = load(path);
        match DirectoryWatch::open(&checked.config, &checked.lines) {
            Ok((directory, _)) => {
                let directory = Arc::new(directory);
                Ok(Prepared { config: checked.config, directory, warnings: report.problems })
            }
            Err(problems) => Err(Report::new(report.file, problems)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_the_demo_users_are_there() {
        let prepared = Serve::default().prepare().expect("built in");
        assert!(prepared.config.lab.embedded_pbx);
        assert!(prepared.directory.current().appearance("sip:carol@contoso.com", None).is_ok());
    }

    #[test]
    fn a_wrong_file_yields_its_whole_report_and_nothing_is_started() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lyncpin.toml");
        std::fs::write(&path, "[users]\nfile = \"absent.csv\"\n").expect("write");
        let report = Serve { config: Some(path) }.prepare().expect_err("wrong");
        let rules: Vec<_> = report.problems.iter().map(|problem| problem.rule).collect();
        assert_eq!(rules, ["no_link", "unreadable"]);
    }
}
