//! `lyncpin certs`: authorities and certificates of a laboratory's own, so that a pair can speak TLS before anybody's real
//! certificates are there. The voters' authority may stay in use: nobody but the voters has to believe it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::Serialize;

use super::serve::chain;
use crate::config::Host;

const VOTERS_CA: &str = "voters-ca";
const SIP_CA: &str = "sip-ca";
/// Days of an authority beyond those of its certificates.
const CA_DAYS: u32 = 3650;
const DAY_S: u64 = 86_400;

/// The arguments.
#[derive(Debug, Args)]
pub struct Certs {
    /// Where the files go; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Ids of the voters: a certificate for each, of the voters' own authority.
    #[arg(long, value_name = "IDS", value_delimiter = ',', default_value = "1,2,3",
          value_parser = clap::value_parser!(u32).range(1..=255))]
    pub voters: Vec<u32>,
    /// Make the SIP side's authority too, and a certificate for this name, the [sip] fqdn of the pair.
    #[arg(long, value_name = "NAME")]
    pub fqdn: Option<Host>,
    /// A client certificate of the SIP side's authority: a balancer's for its health checks, a laboratory's front end.
    #[arg(long, value_name = "NAME", requires = "fqdn")]
    pub client: Vec<Host>,
    /// Issue by the voters' authority that lies in the folder, for a voter that comes later.
    #[arg(long, conflicts_with = "fqdn")]
    pub use_ca: bool,
    /// Days the certificates are valid; the authorities ten years.
    #[arg(long, value_name = "N", default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Report as one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// A file that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    pub file: PathBuf,
    pub what: String,
    pub is_secret: bool,
    #[serde(skip)]
    text: String,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
enum CertsError {
    #[error("{} is there already, and nothing is overwritten; choose another --dir, or move it away", .0.display())]
    IsThere(PathBuf),
    #[error("{} cannot be read; --use-ca needs the authority that an earlier run made", .0.display())]
    NoAuthority(PathBuf, #[source] io::Error),
    #[error("{} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

impl Certs {
    /// Status 1: nothing was made, and the message says why.
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let made = match self.make().and_then(|made| self.write(&made).map(|()| made)) {
            Ok(made) => made,
            Err(problem) => {
                writeln!(err, "lyncpin: {}", chain(&problem))?;
                return Ok(ExitCode::FAILURE);
            }
        };
        if self.json {
            let report = serde_json::json!({ "dir": self.dir, "days": self.days, "files": made });
            writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?;
        } else {
            self.tell(&made, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn voters(&self) -> BTreeSet<u32> {
        self.voters.iter().copied().collect()
    }

    fn make(&self) -> Result<Vec<Made>, CertsError> {
        let mut made = Vec::new();
        let voters = match self.use_ca {
            true => self.load_authority()?,
            false => self.authority(VOTERS_CA, "the voters' authority", &mut made)?,
        };
        for id in self.voters() {
            let names = vec![node_name(id)];
            self.issue(&voters, &format!("node-{id}"), &names, &[Purpose::ServerAuth, Purpose::ClientAuth], &mut made)?;
        }
        let Some(fqdn) = &self.fqdn else { return Ok(made) };
        let sip = self.authority(SIP_CA, "the SIP side's authority, for a laboratory", &mut made)?;
        let names = vec![fqdn.to_string()];
        self.issue(&sip, "sip", &names, &[Purpose::ServerAuth, Purpose::ClientAuth], &mut made)?;
        for client in &self.client {
            let names = vec![client.to_string()];
            self.issue(&sip, &format!("client-{client}"), &names, &[Purpose::ClientAuth], &mut made)?;
        }
        Ok(made)
    }

    fn authority(&self, name: &str, what: &str, made: &mut Vec<Made>) -> Result<Issuer<'static, KeyPair>, CertsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, format!("Lyncpin {name}"));
        valid_for(&mut params, CA_DAYS);
        let certificate = params.self_signed(&key)?;
        made.push(self.file(&format!("{name}.pem"), what, certificate.pem(), false));
        made.push(self.file(&format!("{name}.key"), &format!("{what}: its key"), key.serialize_pem(), true));
        Ok(Issuer::new(params, key))
    }

    fn load_authority(&self) -> Result<Issuer<'static, KeyPair>, CertsError> {
        let read = |name: String| {
            let path = self.dir.join(name);
            fs::read_to_string(&path).map_err(|why| CertsError::NoAuthority(path, why))
        };
        let (certificate, key) = (read(format!("{VOTERS_CA}.pem"))?, read(format!("{VOTERS_CA}.key"))?);
        Ok(Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?)
    }

    fn issue(
        &self,
        issuer: &Issuer<'static, KeyPair>,
        file: &str,
        names: &[String],
        purposes: &[Purpose],
        made: &mut Vec<Made>,
    ) -> Result<(), CertsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = purposes.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name.push(DnType::CommonName, names.join(" "));
        valid_for(&mut params, self.days);
        let certificate = params.signed_by(&key, issuer)?;
        let what = format!("certificate of {}", names.join(", "));
        made.push(self.file(&format!("{file}.pem"), &what, certificate.pem(), false));
        made.push(self.file(
            &format!("{file}.key"),
            &format!("its key ({})", names.join(", ")),
            key.serialize_pem(),
            true,
        ));
        Ok(())
    }

    fn file(&self, name: &str, what: &str, text: String, is_secret: bool) -> Made {
        Made { file: self.dir.join(name), what: what.to_owned(), is_secret, text }
    }

    /// All or nothing as far as can be seen beforehand, and never over a file that is there.
    fn write(&self, made: &[Made]) -> Result<(), CertsError> {
        if let Some(there) = made.iter().find(|made| made.file.symlink_metadata().is_ok()) {
            return Err(CertsError::IsThere(there.file.clone()));
        }
        fs::create_dir_all(&self.dir).map_err(|why| CertsError::Write(self.dir.clone(), why))?;
        made.iter().try_for_each(|made| write_new(made).map_err(|why| CertsError::Write(made.file.clone(), why)))
    }

    fn tell(&self, made: &[Made], out: &mut impl Write) -> io::Result<()> {
        for Made { file, what, .. } in made {
            writeln!(out, "{:<40} {what}", file.display().to_string())?;
        }
        let dir = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let at = |name: &str| dir.join(name).display().to_string();
        for id in self.voters() {
            writeln!(out, "\n# voter {id}")?;
            section(
                out,
                "cluster.tls",
                [at(&format!("node-{id}.pem")), at(&format!("node-{id}.key")), at("voters-ca.pem")],
            )?;
        }
        if self.fqdn.is_some() {
            writeln!(out, "\n# both nodes")?;
            section(out, "sip.tls", [at("sip.pem"), at("sip.key"), at("sip-ca.pem")])?;
        }
        writeln!(
            out,
            "\nEach voter needs its own files and the authority's certificate. The authorities' keys (*-ca.key) belong on"
        )?;
        writeln!(out, "none of them: whoever has {VOTERS_CA}.key can be a voter.")
    }
}

fn section(out: &mut impl Write, name: &str, [cert, key, ca]: [String; 3]) -> io::Result<()> {
    writeln!(out, "[{name}]\ncert = {cert:?}\nkey = {key:?}\nca = {ca:?}")
}

/// The DNS name by which voters know each other.
fn node_name(id: u32) -> String {
    format!("node-{id}.lyncpin.internal")
}

/// From an hour ago, for clocks that differ.
fn valid_for(params: &mut CertificateParams, days: u32) {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now_s.saturating_sub(3_600));
    params.not_after = epoch + Duration::from_secs(now_s + u64::from(days) * DAY_S);
}

/// Keys are for their owner alone.
fn write_new(made: &Made) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = if made.is_secret { 0o600 } else { 0o644 };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open::<&Path>(&made.file)?;
    file.write_all(made.text.as_bytes())?;
    file.sync_all()
}
