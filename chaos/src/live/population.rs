//! The users: signed in through the balancer, and their views held against the PBX's calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::{FrontEnd, FrontEndOptions, RccUser, UserOptions};

use super::LiveError;
use super::config::{FIRST, line_of};
use super::notes::{Notes, Wire, device_of};
use crate::history::{Difference, What};

const FRONT_ENDS: usize = 8;
/// Longer than a node needs to find out what became of a service, shorter than Timer F.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const SIGN_INS_AT_ONCE: usize = 25;

pub struct Population {
    notes: Arc<Notes>,
    _front_ends: Vec<FrontEnd>,
    pub users: Vec<Arc<RccUser>>,
}

impl Population {
    pub fn new(users: usize, balancer: SocketAddr, notes: Arc<Notes>) -> Self {
        let front_end = |n: usize| {
            let wire = Wire { notes: notes.clone(), front_end: n as u64 };
            let front_end = FrontEnd::new(FrontEndOptions {
                repeats_on_flow_loss: true,
                transport: "TCP",
                history: Some(notes.clone()),
                tap: Some(Arc::new(wire)),
                ..FrontEndOptions::front_end(&format!("fe{n:02}.contoso.com"))
            });
            front_end.keep_connected(vec![balancer.to_string()], 1);
            front_end
        };
        let front_ends: Vec<FrontEnd> = (0..FRONT_ENDS).map(front_end).collect();
        let user = |n: usize| {
            let extension = FIRST + n;
            let name = format!("sip:user{extension}@contoso.com");
            let mut options = UserOptions::new(name, line_of(extension), "sip:rccgw@localhost");
            options.epid = format!("{extension:010x}");
            options.answer_timeout = ANSWER_WITHIN;
            Arc::new(front_ends[n % FRONT_ENDS].user(options))
        };
        Self { notes: notes.clone(), users: (0..users).map(user).collect(), _front_ends: front_ends }
    }

    pub async fn sign_in(&self) -> Result<(), LiveError> {
        for some in self.users.chunks(SIGN_INS_AT_ONCE) {
            let mut tasks = tokio::task::JoinSet::new();
            for user in some {
                tasks.spawn(sign_in(user.clone(), self.notes.clone()));
            }
            while let Some(done) = tasks.join_next().await {
                done.map_err(std::io::Error::other)??;
            }
        }
        Ok(())
    }

    /// Users whose view is not the PBX's.
    pub fn differences(&self, truth: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<Difference> {
        let nothing = BTreeMap::new();
        let mut differ = Vec::new();
        for user in &self.users {
            let device = device_of(user.name());
            let shown: BTreeMap<String, String> = user.with_view(|view| {
                view.calls().iter().map(|call| (call.id.clone(), call.local.as_str().to_owned())).collect()
            });
            let real = truth.get(&device).unwrap_or(&nothing);
            if shown != *real {
                let list = |calls: &BTreeMap<String, String>| {
                    calls.iter().map(|(id, state)| format!("{id} {state}")).collect()
                };
                differ.push(Difference { user: device, client: list(&shown), pbx: list(real) });
            }
        }
        differ
    }
}

/// Signs in, and writes down the dialog that came of it.
pub async fn sign_in(user: Arc<RccUser>, notes: Arc<Notes>) -> Result<(), LiveError> {
    let failed = |why| LiveError::SignIn { user: user.name().to_owned(), why };
    user.sign_in().await.map_err(failed)?;
    let (call_id, tag) = (user.call_id().to_string(), user.remote_tag().unwrap_or_default());
    notes.add(What::SignedIn { user: device_of(user.name()), call_id, tag });
    Ok(())
}
