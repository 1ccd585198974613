//! The users: signed in through the balancer, and their views held against the PBX's calls.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::{FrontEnd, FrontEndOptions, RccUser, UserOptions};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::LiveError;
use super::config::{FIRST, line_of};
use super::notes::{Notes, Wire, device_of};
use crate::history::{Difference, What};

/// A front end takes four connections: its own, and one for each of its users whose new owner comes to it at once.
const USERS_PER_FRONT_END: usize = 3;
/// A node takes only so many connections from one address.
const FRONT_ENDS_MAX: usize = 200;
/// Longer than a node needs to find out what became of a service, shorter than Timer F.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const SIGN_INS_AT_ONCE: usize = 25;
const SIGN_IN_TRIES: usize = 20;
const SIGN_IN_PAUSE: Duration = Duration::from_millis(500);

pub struct Population {
    notes: Arc<Notes>,
    pub users: Vec<Arc<RccUser>>,
    listening: Vec<JoinHandle<()>>,
}

impl Drop for Population {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

/// A new owner that has no connection to a front end opens one to the address in its Record-Route.
async fn take_connections(listener: TcpListener, front_end: FrontEnd) {
    while let Ok((stream, _)) = listener.accept().await {
        // Err: a front end has four connections at most; the fifth is closed.
        let _ = stream.set_nodelay(true);
        let _ = front_end.attach(stream);
    }
}

impl Population {
    pub async fn new(users: usize, balancer: SocketAddr, front: IpAddr, notes: Arc<Notes>) -> Result<Self, LiveError> {
        let count = users.div_ceil(USERS_PER_FRONT_END).clamp(1, FRONT_ENDS_MAX);
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind(SocketAddr::new(front, 0)).await?);
        }
        let (mut front_ends, mut listening) = (Vec::new(), Vec::new());
        for (n, listener) in listeners.into_iter().enumerate() {
            let wire = Wire { notes: notes.clone(), front_end: n as u64 };
            let route = format!("<sip:{};transport=tcp;lr>;tag=F{n:031X}", listener.local_addr()?);
            let front_end = FrontEnd::new(FrontEndOptions {
                record_route: Arc::new([route]),
                repeats_on_flow_loss: true,
                transport: "TCP",
                history: Some(notes.clone()),
                tap: Some(Arc::new(wire)),
                ..FrontEndOptions::front_end(&format!("fe{n:02}.contoso.com"))
            });
            front_end.keep_connected(vec![balancer.to_string()], 1);
            listening.push(tokio::spawn(take_connections(listener, front_end.clone())));
            front_ends.push(front_end);
        }
        let user = |n: usize| {
            let extension = FIRST + n;
            let name = format!("sip:user{extension}@contoso.com");
            let mut options = UserOptions::new(name, line_of(extension), "sip:rccgw@localhost");
            options.epid = format!("{extension:010x}");
            options.answer_timeout = ANSWER_WITHIN;
            Arc::new(front_ends[n % count].user(options))
        };
        let users = (0..users).map(user).collect();
        Ok(Self { notes: notes.clone(), users, listening })
    }

    pub async fn sign_in(&self) -> Result<(), LiveError> {
        for some in self.users.chunks(SIGN_INS_AT_ONCE) {
            let mut tasks = tokio::task::JoinSet::new();
            for user in some {
                tasks.spawn(sign_in_at_last(user.clone(), self.notes.clone()));
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

/// As real clients do, who try again: a pair that has just begun may refuse.
async fn sign_in_at_last(user: Arc<RccUser>, notes: Arc<Notes>) -> Result<(), LiveError> {
    let mut tries = 1;
    loop {
        match sign_in(user.clone(), notes.clone()).await {
            Err(_) if tries < SIGN_IN_TRIES => {
                tries += 1;
                tokio::time::sleep(SIGN_IN_PAUSE).await;
            }
            done => return done,
        }
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
