//! `lyncpin lab`: parts to try out with.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::serve::chain;
use crate::config::{Host, Unfit};
use crate::lab::pbx::{DeviceRange, LinkOptions, PbxLab, PbxOptions};
use crate::lab::users::{self, UsersOptions};

/// The parts.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// A simulated PBX: phones, calls, CTI links, and a control port to ring and answer them by hand.
    Pbx(Pbx),
    /// Simulated Lync users that sign in, call each other and measure.
    Users(Box<UsersOptions>),
    /// Print a users file (CSV) of made-up users.
    Directory(Directory),
}

/// Runs until Ctrl-C. The control port takes one JSON object a line, e.g. {"op":"ring","device":"5101","from":"+14255550199"}.
#[derive(Debug, Args)]
pub struct Pbx {
    /// An address to serve CTI links on; may be repeated, all see the same calls.
    #[arg(long = "listen", value_name = "HOST:PORT", default_values = ["127.0.0.1:8800"])]
    pub listen: Vec<SocketAddr>,
    /// Where the control port is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8899")]
    pub control: SocketAddr,
    /// Extension of the first phone.
    #[arg(long, default_value_t = 5101, value_parser = clap::value_parser!(u32).range(1..=99_999_999))]
    pub first_extension: u32,
    /// How many phones.
    #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub phones: u32,
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
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        match self {
            Self::Pbx(pbx) => pbx.run(out, err),
            Self::Users(options) => run_users((**options).clone(), out, err),
            Self::Directory(directory) => directory.run(out),
        }
    }
}

impl Pbx {
    fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let links = self.listen.iter().enumerate();
        let links = links.map(|(n, address)| LinkOptions { name: format!("pbx{}", n + 1), address: *address });
        let options = PbxOptions {
            links: links.collect(),
            control: Some(self.control),
            devices: vec![DeviceRange { first: self.first_extension.to_string(), count: self.phones as usize }],
            ..PbxOptions::default()
        };
        runtime()?.block_on(async {
            let pbx = match PbxLab::start(options).await {
                Ok(pbx) => pbx,
                Err(error) => {
                    writeln!(err, "lyncpin: {}", chain(&error))?;
                    return Ok(ExitCode::FAILURE);
                }
            };
            for address in pbx.addresses() {
                writeln!(out, "CTI link  csta://{address}")?;
            }
            if let Some(address) = pbx.control_address() {
                writeln!(out, "control   tcp://{address}")?;
            }
            writeln!(out, "{} phones from {} on. Ctrl-C stops it.", self.phones, self.first_extension)?;
            out.flush()?;
            tokio::signal::ctrl_c().await?;
            pbx.stop().await;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Exit status 0: everything went well; 1: something failed or was left over; 2: the run could not begin.
fn run_users(options: UsersOptions, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    let json = options.json;
    match runtime()?.block_on(users::run(options)) {
        Ok(report) if json => {
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
            Ok(ExitCode::from(report.exit_code()))
        }
        Ok(report) => {
            writeln!(out, "{report}")?;
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => {
            writeln!(err, "lyncpin: {}", chain(&error))?;
            Ok(ExitCode::from(2))
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
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
