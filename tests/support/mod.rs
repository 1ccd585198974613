//! A gateway, a simulated PBX and signed-in users for tests that need all three.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{FrontEnd, FrontEndOptions, RccUser, UserOptions};
use lyncpin::config::{Lines, check};
use lyncpin::csta::LocalState;
use lyncpin::directory::DirectoryWatch;
use lyncpin::gateway::{Gateway, Options};
use lyncpin::lab::pbx::{CallSeen, DeviceRange, PbxLab, PbxOptions, Reply, Request};

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

    /// The PBX's calls, all of them.
    pub async fn calls(&self) -> Vec<CallSeen> {
        match self.desk(Request::Calls { after: 0, max: 100_000 }).await {
            Reply::Calls { calls } => calls,
            other => panic!("{other:?}"),
        }
    }

    /// What differs between the clients' views and the PBX, one line a user.
    pub async fn differences(&self) -> Vec<String> {
        let mut truth: BTreeMap<String, BTreeMap<String, LocalState>> = BTreeMap::new();
        for call in self.calls().await {
            for party in call.parties.iter().filter(|party| party.is_device) {
                truth.entry(party.party.clone()).or_default().insert(call.call.clone(), party.state);
            }
        }
        let mut differ = Vec::new();
        for (n, user) in self.users.iter().enumerate() {
            let shown: BTreeMap<String, LocalState> =
                user.with_view(|view| view.calls().iter().map(|call| (call.id.clone(), call.local)).collect());
            let real = truth.remove(&(FIRST + n).to_string()).unwrap_or_default();
            if shown != real {
                differ.push(format!("{}: shown {shown:?}, real {real:?}", user.name()));
            }
        }
        differ
    }

    /// Waits until every client sees what is true; panics with the differences after `within`.
    pub async fn agree(&self, within: Duration) -> Duration {
        let began = tokio::time::Instant::now();
        loop {
            let differ = self.differences().await;
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
