//! `lyncpin lab`: parts to try out with.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Host, Unfit};

/// The parts.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Print a users file (CSV) of made-up users.
    Directory(Directory),
}

/// Users `user10001@contoso.com`, ... with extensions counted upwards.
#[derive(Debug, Args)]
pub struct Directory {
    /// How many users.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub count: u32,
    /// Extension, and device, of the first one.
    #[arg(long, default_value_t = 10_001, value_parser = clap::value_parser!(u32).range(1..=99_999_999))]
    pub first_extension: u32,
    /// SIP domain of the users.
    #[arg(long, default_value = "contoso.com", value_parser = domain)]
    pub domain: String,
    /// What stands before the extension in a user's global number.
    #[arg(long, default_value = "+1425555", value_parser = prefix)]
    pub number_prefix: String,
}

impl Lab {
    pub fn run(&self, out: &mut impl Write) -> io::Result<ExitCode> {
        match self {
            Self::Directory(directory) => directory.run(out),
        }
    }
}

impl Directory {
    pub fn run(&self, out: &mut impl Write) -> io::Result<ExitCode> {
        let mut out = BufWriter::new(out);
        writeln!(out, "sip,line,device,partition,licensed")?;
        let Self { domain, number_prefix, .. } = self;
        for n in self.first_extension..self.first_extension + self.count {
            writeln!(out, "sip:user{n}@{domain},tel:{number_prefix}{n};ext={n},{n},,true")?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn domain(text: &str) -> Result<String, Unfit> {
    text.parse::<Host>().map(|host| host.as_str().to_owned())
}

fn prefix(text: &str) -> Result<String, &'static str> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let is_prefix = (1..=14).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_prefix { Ok(text.to_owned()) } else { Err("`+` and up to 14 digits") }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Lines};

    use super::*;

    #[test]
    fn the_printed_users_are_a_users_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("users.csv");
        let made = Directory {
            count: 20_000,
            first_extension: 10_001,
            domain: "contoso.com".to_owned(),
            number_prefix: "+1425555".to_owned(),
        };
        made.run(&mut std::fs::File::create(&path).expect("file")).expect("written");
        let mut config = Config::default();
        config.users.file = Some(path);
        let loaded = crate::directory::load(&config, &Lines::default()).expect("good");
        assert_eq!((loaded.directory.len(), loaded.warnings), (20_000, Vec::new()));
        let appearance = loaded.directory.appearance("sip:user30000@contoso.com", None).expect("the last one");
        assert_eq!((appearance.line.as_str(), appearance.device.as_str()), ("tel:+142555530000;ext=30000", "30000"));
        println!("{} bytes on the heap for 20,000 users", loaded.directory.heap_bytes());
    }
}
