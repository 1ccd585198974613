//! What happens to a pair behind any proxy: users sign in and talk, and nodes are killed, frozen and restarted by turns.

use lyncpin::client::FrontEnd;

use crate::ordeal::Users;
use crate::pair::{self, NodeOptions, Pair, until};
use crate::part::is_here;

const SERVER: &str = "sip:rccgw@rccgw.contoso.com";

/// A program in front of the pair.
pub trait Proxy: Sized {
    /// Of the program, and of its Debian package.
    const NAME: &str;
    const USERS: usize;
    /// Users below this talk to each other.
    const TALKING: usize;

    /// What the nodes' files say of it.
    fn nodes() -> NodeOptions<'static>;

    /// Started, and it finds both nodes well.
    async fn start(pair: &Pair) -> Self;

    /// As many as its scenarios want.
    async fn front_ends(&self) -> Vec<FrontEnd>;

    /// Whether its health check finds a node well.
    fn is_up(&self, id: u32) -> bool;

    async fn until_up(&self, id: u32) {
        until("the proxy finds the node well", async || self.is_up(id)).await;
    }
}

/// A pair behind its proxy, with users who are signed in and talk.
pub struct Site<P> {
    pub pair: Pair,
    pub proxy: P,
    pub front_ends: Vec<FrontEnd>,
    pub users: Users,
}

/// Runs a scenario behind `P`, where that is installed.
pub fn behind<P: Proxy>(scenario: impl AsyncFnOnce(&Site<P>)) {
    if !is_here(P::NAME, P::NAME) {
        return;
    }
    pair::run(async {
        let pair = Pair::start(P::USERS, &P::nodes()).await;
        let proxy = P::start(&pair).await;
        let front_ends = proxy.front_ends().await;
        scenario(&Site::begin(pair, proxy, front_ends).await).await;
    });
}

impl<P: Proxy> Site<P> {
    pub async fn begin(pair: Pair, proxy: P, front_ends: Vec<FrontEnd>) -> Self {
        let users = Users::sign_in(pair.users(P::USERS, &front_ends, SERVER)).await;
        users.talk(P::TALKING).await;
        Self { pair, proxy, front_ends, users }
    }

    /// A node dies, a new call rings meanwhile, and it comes back. `round`: which talking user acts.
    pub async fn kill(&self, round: usize, victim: u32) {
        self.pair.kill(victim);
        self.pair.ring(P::TALKING + round).await;
        self.users.all_go_on(&self.pair).await;
        self.users.hold_and_retrieve(round).await;
        self.pair.spawn(victim);
        self.proxy.until_up(victim).await;
        self.users.all_go_on(&self.pair).await;
    }

    /// Its users go on at the other node. Nothing says that it is sick but the proxy's own check.
    pub async fn freeze(&self, id: u32) {
        self.pair.signal(id, "-STOP");
        self.users.all_go_on(&self.pair).await;
    }

    /// A frozen node was fenced, and begins a new life.
    pub async fn thaw(&self, id: u32) {
        self.users.hold_and_retrieve(0).await;
        self.pair.signal(id, "-CONT");
        until("the fenced node begins a new life", async || self.pair.lives() > 0).await;
        self.proxy.until_up(id).await;
        self.users.all_go_on(&self.pair).await;
    }

    /// A node is stopped as for an upgrade, and started.
    pub async fn restart(&self, round: usize, id: u32) {
        self.pair.stop_gently(id).await;
        self.users.hold_and_retrieve(round).await;
        self.pair.spawn(id);
        self.proxy.until_up(id).await;
        self.users.all_go_on(&self.pair).await;
    }
}
