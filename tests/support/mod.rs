//! A gateway, a simulated PBX and signed-in users for tests that need all three.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{Call, FrontEnd, FrontEndOptions, RccUser, UserOptions};
use lyncpin::config::{Lines, check};
use lyncpin::csta::LocalState;
use lyncpin::directory::DirectoryWatch;
use lyncpin::gateway::{Gateway, Options};
use lyncpin::lab::pbx::{CallSeen, DeviceRange, Entry, OutsideDoes, OutsideRule, PbxLab, PbxOptions, Reply, Request};

/// Extension of the first phone.
pub const FIRST: usize = 10_001;

pub struct Lab {
    pub pbx: PbxLab,
    pub gateway: Gateway,
    pub front_ends: Vec<FrontEnd>,
    pub users: Vec<RccUser>,
    _folder: tempfile::TempDir,
}

pub struct Plan {
    pub users: usize,
    pub links: usize,
    pub arbiters: usize,
    /// Further lines of [sip].
    pub sip: &'static str,
    /// Lines of each [[cti]].
    pub cti: &'static str,
}

impl Lab {
    /// Starts everything on ports of the system's choice and signs all users in.
    pub async fn start(plan: Plan) -> Self {
        let mut options = PbxOptions::with_links(plan.links);
        options.devices = vec![DeviceRange { first: FIRST.to_string(), count: plan.users }];
        options.history_entries_max = 1_000_000;
        options.model.ring_timeout_ms = None;
        // +1206… answers at once, +1207… rings on.
        options.model.outside = vec![
            OutsideRule { prefix: "+1206".into(), does: OutsideDoes::AnswerAfterMs(20) },
            OutsideRule { prefix: "+1207".into(), does: OutsideDoes::RingOn },
        ];
        let pbx = PbxLab::start(options).await.expect("the PBX starts");
        let folder = tempfile::tempdir().expect("a folder");
        let mut csv = String::from("sip,line,device\n");
        for n in FIRST..FIRST + plan.users {
            writeln!(csv, "sip:user{n}@contoso.com,{},{n}", line(n)).expect("a string takes it");
        }
        let file = folder.path().join("users.csv");
        std::fs::write(&file, csv).expect("written");
        let mut text = format!("[sip]\nlisten = [\"tcp://127.0.0.1:0\"]\n{}\n", plan.sip);
        for (n, address) in pbx.addresses().iter().enumerate() {
            writeln!(text, "[[cti]]\nname = \"cm{n}\"\naddress = \"csta://{address}\"\n{}", plan.cti)
                .expect("a string takes it");
        }
        let mut config = check(&text).expect("a good configuration");
        config.users.file = Some(file);
        let (directory, _) = DirectoryWatch::open(&config, &Lines::default()).expect("good users");
        let options = Options { arbiters: plan.arbiters, ..Options::default() };
        let gateway = Gateway::start(config, Arc::new(directory), options).await.expect("the gateway starts");
        let node = gateway.node().clone();
        settled(Duration::from_secs(10), || node.links.iter().all(|link| link.is_up())).await;
        let mut front_ends = Vec::new();
        for _ in 0..4 {
            let front_end = FrontEnd::new(FrontEndOptions::front_end("fe01.contoso.com"));
            front_end.connect(gateway.addresses()[0]).await.expect("the gateway listens");
            front_ends.push(front_end);
        }
        let users: Vec<RccUser> = (FIRST..FIRST + plan.users)
            .map(|n| {
                let mut options =
                    UserOptions::new(format!("sip:user{n}@contoso.com"), line(n), "sip:rccgw@rccgw.contoso.com");
                options.epid = format!("{n:010x}");
                front_ends[n % front_ends.len()].user(options)
            })
            .collect();
        for some in users.chunks(100) {
            for signed_in in join_all(some.iter().map(RccUser::sign_in)).await {
                signed_in.expect("the user signs in");
            }
        }
        Self { pbx, gateway, front_ends, users, _folder: folder }
    }

    pub async fn desk(&self, request: Request) -> Reply {
        self.pbx.control(request).await
    }

    /// As `desk`, for what the PBX must do.
    pub async fn order(&self, request: Request) -> Reply {
        let reply = self.desk(request.clone()).await;
        assert!(reply.is_ok(), "{request:?}: {reply:?}");
        reply
    }

    /// The PBX's calls, all of them.
    pub async fn calls(&self) -> Vec<CallSeen> {
        match self.desk(Request::Calls { after: 0, max: 100_000 }).await {
            Reply::Calls { calls } => calls,
            other => panic!("{other:?}"),
        }
    }

    /// All the PBX has done.
    pub async fn history(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let after = all.last().map_or(0, |entry| entry.seq);
            let Reply::History(page) = self.desk(Request::History { after, max: 10_000 }).await else {
                panic!("pages")
            };
            assert_eq!(page.dropped, 0, "a history with holes proves nothing");
            if page.entries.is_empty() {
                return all;
            }
            all.extend(page.entries);
        }
    }

    /// What differs between the views of these clients and the PBX, party by party, one line a user.
    pub async fn differences(&self, is_meant: impl Fn(usize) -> bool) -> Vec<String> {
        let mut truth = truth(&self.calls().await);
        let mut differ = Vec::new();
        for (n, user) in self.users.iter().enumerate().filter(|(n, _)| is_meant(*n)) {
            let real = truth.remove(&(FIRST + n).to_string()).unwrap_or_default();
            let shown = shown(user);
            if shown != real {
                differ.push(format!("{}: shown {shown:?}, real {real:?}", user.name()));
            }
            if user.with_view(|view| !view.is_in_service) {
                differ.push(format!("{}: out of service", user.name()));
            }
        }
        differ
    }

    /// Waits until every client sees what is true; panics with the differences after `within`.
    pub async fn agree(&self, within: Duration) -> Duration {
        self.agree_of(within, |_| true).await
    }

    /// The same for some of them, by number.
    pub async fn agree_of(&self, within: Duration, is_meant: impl Fn(usize) -> bool) -> Duration {
        let began = tokio::time::Instant::now();
        loop {
            let differ = self.differences(&is_meant).await;
            if differ.is_empty() {
                return began.elapsed();
            }
            assert!(
                began.elapsed() < within,
                "{} users differ, e.g. {:#?}",
                differ.len(),
                &differ[..differ.len().min(5)]
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One side's calls: call id → own state, and the others' states by number.
pub type Seen = BTreeMap<String, (LocalState, BTreeMap<String, LocalState>)>;

/// Each phone's calls, as the PBX has them.
pub fn truth(calls: &[CallSeen]) -> BTreeMap<String, Seen> {
    let mut truth: BTreeMap<String, Seen> = BTreeMap::new();
    for call in calls {
        for own in call.parties.iter().filter(|party| party.is_device) {
            let others = call.parties.iter().filter(|party| party.party != own.party);
            let others = others.map(|party| (party.party.clone(), party.state)).collect();
            truth.entry(own.party.clone()).or_default().insert(call.call.clone(), (own.state, others));
        }
    }
    truth
}

/// A client's calls, as it believes; lines are named by their extension.
pub fn shown(user: &RccUser) -> Seen {
    let number = |device: &str| match device.split_once(";ext=") {
        Some((_, extension)) => extension.to_owned(),
        None => device.trim_start_matches("tel:").split(';').next().unwrap_or_default().to_owned(),
    };
    user.with_view(|view| {
        let parties = |call: &Call| call.parties.iter().map(|party| (number(&party.device), party.state)).collect();
        view.calls().iter().map(|call| (call.id.clone(), (call.local, parties(call)))).collect()
    })
}

/// Such tests share two cores: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn line(n: usize) -> String {
    format!("tel:+1425555{n};ext={n}")
}

/// Polls until it holds.
pub async fn settled(within: Duration, mut holds: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < within, "not within {within:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
