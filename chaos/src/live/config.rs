//! The files of a run: a configuration for each voter, the users, the voters' certificates.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};

use super::LiveError;

/// The first user's extension and device.
pub const FIRST: usize = 10_001;
pub const WITNESS: u32 = 3;
pub const VOTERS: u32 = 3;

/// Where everybody is.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Of nodes 1 and 2.
    pub sip: Vec<SocketAddr>,
    pub voters: Vec<SocketAddr>,
    pub trusted: Vec<String>,
    /// For each data node, its PBX links.
    pub links: Vec<Vec<SocketAddr>>,
    pub needs_tls: bool,
}

pub fn line_of(extension: usize) -> String {
    format!("tel:+1425555{extension};ext={extension}")
}

pub fn data_dir(folder: &Path, node: u32) -> PathBuf {
    folder.join(format!("data{node}"))
}

pub fn file(folder: &Path, node: u32) -> PathBuf {
    folder.join(format!("node{node}.toml"))
}

pub fn write(folder: &Path, users: usize, addresses: &Addresses) -> Result<(), LiveError> {
    let mut csv = String::from("sip,line,device\n");
    for extension in FIRST..FIRST + users {
        csv += &format!("sip:user{extension}@contoso.com,{},{extension}\n", line_of(extension));
    }
    fs::write(folder.join("users.csv"), csv)?;
    if addresses.needs_tls {
        certificates(folder, "voters", VOTERS)?;
        // Somebody else's authority, for intruders who bring a certificate.
        certificates(folder, "strangers", 1)?;
    }
    let mut cluster = String::from("[cluster]\nname = \"chaos\"\n");
    for (node, address) in (1..).zip(&addresses.voters) {
        let role = if node == WITNESS { "witness" } else { "data" };
        cluster += &format!("[[cluster.voter]]\nid = {node}\naddress = \"{address}\"\nrole = \"{role}\"\n");
    }
    let trusted: Vec<String> = addresses.trusted.iter().map(|peer| format!("\"{peer}\"")).collect();
    for node in 1..=VOTERS {
        let mut text = format!("[node]\nid = {node}\ndata_dir = \"data{node}/store\"\n{cluster}");
        if addresses.needs_tls {
            text += &format!(
                "[cluster.tls]\ncert = \"voters-{node}.pem\"\nkey = \"voters-{node}.key\"\nca = \"voters-ca.pem\"\n"
            );
        }
        if let Some(sip) = addresses.sip.get(node as usize - 1) {
            text += &format!("[sip]\nlisten = [\"tcp://{sip}\"]\ntrusted_peers = [{}]\n", trusted.join(", "));
            text += "[users]\nfile = \"users.csv\"\n";
            for (n, link) in (1..).zip(&addresses.links[node as usize - 1]) {
                text += &format!("[[cti]]\nname = \"cm{n}\"\naddress = \"csta://{link}\"\nheartbeat_s = 1\n");
            }
        }
        fs::write(file(folder, node), text)?;
        fs::create_dir_all(data_dir(folder, node))?;
    }
    Ok(())
}

/// `NAME-ca.pem`, and `NAME-1.pem` with its key for each node.
fn certificates(folder: &Path, name: &str, count: u32) -> Result<(), LiveError> {
    let ca_key = KeyPair::generate()?;
    fs::write(folder.join(format!("{name}-ca.pem")), authority().self_signed(&ca_key)?.pem())?;
    fs::write(folder.join(format!("{name}-ca.key")), ca_key.serialize_pem())?;
    let issuer = Issuer::new(authority(), ca_key);
    (1..=count).try_for_each(|node| leaf(folder, name, node, &issuer, Validity::Good))
}

fn authority() -> CertificateParams {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca
}

/// Until when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Good,
    /// It held, and does not any more.
    Over,
}

/// Another certificate for a voter, with another key, of the same authority.
pub fn certify(folder: &Path, node: u32, validity: Validity) -> Result<(), LiveError> {
    let ca_key = fs::read_to_string(folder.join("voters-ca.key"))?;
    let issuer = Issuer::new(authority(), KeyPair::from_pem(&ca_key)?);
    leaf(folder, "voters", node, &issuer, validity)
}

fn leaf(
    folder: &Path,
    name: &str,
    node: u32,
    issuer: &Issuer<'_, KeyPair>,
    validity: Validity,
) -> Result<(), LiveError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![format!("node-{node}.lyncpin.internal")])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if validity == Validity::Over {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    fs::write(folder.join(format!("{name}-{node}.pem")), params.signed_by(&key, issuer)?.pem())?;
    Ok(fs::write(folder.join(format!("{name}-{node}.key")), key.serialize_pem())?)
}
