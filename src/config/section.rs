//! The small sections, and the file as a whole.

use std::path::{Path, PathBuf};

use super::address::HepAddress;
use super::admin::Admin;
use super::cluster::{Cluster, VoterRole};
use super::cti::Cti;
use super::profile::Profile;
use super::reader::settings;
use super::sip::Sip;
use super::value::choice;

settings! {
    /// The configuration of one node: everything a file may hold, checked.
    pub struct Config {
        node: Node = Node::default();
        cluster: Cluster = Cluster::default();
        sip: Sip = Sip::default();
        cti: Vec<Cti> = Vec::new();
        users: Users = Users::default();
        user: Vec<UserEntry> = Vec::new();
        profile: Vec<Profile> = Vec::new();
        admin: Admin = Admin::default();
        log: Log = Log::default();
        trace: Trace = Trace::default();
        lab: Lab = Lab::default();
    }
}

settings! {
    /// This node.
    pub struct Node {
        /// Its number, its own within the pair.
        id: u32 = 1, 1 to 255;
        /// Where it keeps what must survive a restart. A node alone keeps its records in memory.
        data_dir: PathBuf = PathBuf::from("data");
        /// How long a node of a pair that was told to stop, and has handed its users over, waits for front ends and balancers to
        /// move their connections.
        stop_linger_s: u32 = 5, 0 to 300;
    }
}

settings! {
    /// Users from a file beside this one, in addition to [[user]].
    pub struct Users {
        /// A .csv file with the header line sip,line,device,partition,licensed (any order), or a .toml file with [[user]].
        file: Option<PathBuf> = None;
        /// How often the file is looked at for a change; 0: never.
        reload_s: u32 = 5, 0 to 86400;
        /// Users at most, from both places together.
        users_max: usize = 200_000, 1 to 200000;
        /// Size of the file at most.
        file_bytes_max: usize = 67_108_864, 1024 to 268435456;
    }
}

settings! {
    /// One user's right to one line on one device. A user may have several, a line may be on several devices.
    pub struct UserEntry {
        /// The user's SIP address: "sip:alice@contoso.com".
        sip: String;
        /// The Line URI of the user's account: "tel:+14255550101;ext=5101".
        line: String;
        /// What the call manager calls the phone: "5101", "SEP001122334455".
        device: String;
        /// The line's partition, where the call manager has several of one number.
        partition: Option<String> = None;
        /// Whether the user has a client license.
        licensed: bool = true;
    }
}

settings! {
    /// A users file in TOML: [[user]] tables and nothing else.
    pub struct UsersFile {
        user: Vec<UserEntry> = Vec::new();
    }
}

choice! {
    /// The form of log lines.
    pub enum LogFormat {
        Auto = "auto",
        Human = "human",
        Json = "json",
    }
}

choice! {
    /// The least important record line that is written.
    pub enum LogLevel {
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

settings! {
    /// Logging, to the standard error stream.
    pub struct Log {
        /// human: text; json: one object a line; auto: text on a terminal, JSON for journald and files.
        format: LogFormat = LogFormat::Auto;
        /// error: a person must act; warn: healed by itself; info: life events. Message bodies only at trace. `lyncpin ctl
        /// log-level` changes it while the node runs.
        level: LogLevel = LogLevel::Info;
    }
}

settings! {
    /// Following what is said: `lyncpin ctl trace`, and copies for a Homer collector.
    pub struct Trace {
        /// Traces of operators at once.
        traces_max: usize = 4, 1 to 64;
        /// A collector that every SIP message is copied to, in HEP3: "udp://homer.contoso.com:9060".
        hep: Option<HepAddress> = None;
        /// Whether those copies show whole numbers.
        hep_shows_numbers: bool = false;
    }
}

settings! {
    /// Trying out without a PBX.
    pub struct Lab {
        /// Run the simulated PBX inside the gateway, at the address of the first [[cti]].
        embedded_pbx: bool = false;
        /// Extension of the simulated PBX's first phone.
        first_extension: u32 = 5101, 1 to 99999999;
        /// Phones of the simulated PBX.
        phones: usize = 99, 1 to 200000;
    }
}

impl Config {
    /// What `serve` runs without a file: loopback, the simulated PBX, and users on its phones 5101 to 5120.
    pub fn embedded() -> Self {
        const NAMES: [&str; 20] = [
            "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "karl", "laura",
            "mike", "nina", "oscar", "peggy", "quinn", "rita", "steve", "tina",
        ];
        let user = |(name, extension): (&str, u32)| UserEntry {
            sip: format!("sip:{name}@contoso.com"),
            line: format!("tel:+1425555{:04};ext={extension}", extension - 5000),
            device: extension.to_string(),
            ..UserEntry::default()
        };
        let link = Cti {
            name: "lab".to_owned(),
            address: "csta://127.0.0.1:8800".parse().expect("an address"),
            ..Cti::default()
        };
        let mut sip = Sip::default();
        // Made-up users all come from this machine, each perhaps with a connection of its own.
        sip.limits.flows_per_peer_max = sip.limits.flows_max;
        Self {
            sip,
            cti: vec![link],
            user: NAMES.into_iter().zip(5101..).map(user).collect(),
            lab: Lab { embedded_pbx: true, ..Lab::default() },
            ..Self::default()
        }
    }

    /// Whether this node is a witness, which serves nobody.
    pub fn is_witness(&self) -> bool {
        self.cluster.voter.iter().any(|voter| voter.id == self.node.id && voter.role == VoterRole::Witness)
    }

    /// What holds for a client: the profile with the longest matching prefix, else the defaults.
    pub fn profile_for(&self, user_agent: &str) -> Profile {
        let matching = self.profile.iter().filter(|profile| user_agent.starts_with(&profile.user_agent));
        matching.max_by_key(|profile| profile.user_agent.len()).cloned().unwrap_or_default()
    }

    /// Makes every path that is not absolute start at `folder`.
    pub fn rebase(&mut self, folder: &Path) {
        let tls = &mut self.sip.tls;
        let voter = &mut self.cluster.tls;
        let admin = &mut self.admin;
        let own = [&mut tls.cert, &mut tls.key, &mut tls.ca, &mut self.users.file];
        let desk = [&mut admin.cert, &mut admin.key, &mut admin.secret_file];
        let optional = own.into_iter().chain(desk).chain([&mut voter.cert, &mut voter.key, &mut voter.ca]);
        let secrets = self.cti.iter_mut().map(|link| &mut link.password_file);
        for path in optional.chain(secrets).flatten() {
            *path = folder.join(&*path);
        }
        self.node.data_dir = folder.join(&self.node.data_dir);
    }
}
