//! What the users of every layout go through, and what must be so afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{CallView, Phase, RccUser, SignInError, Unanswered, Violation};

use crate::calling::Calling;
use crate::pair::{PATIENCE, Pair};

/// Far-side tag and monitor of each user: what must never change.
type Identity = (Option<String>, Option<String>);

pub struct Users {
    all: Vec<RccUser>,
    were: Vec<Identity>,
}

impl Users {
    pub async fn sign_in(all: Vec<RccUser>) -> Self {
        join_all(all.iter().map(sign_in)).await;
        let were = all.iter().map(|user| (user.remote_tag(), user.xref())).collect();
        Self { all, were }
    }

    /// The first so many users talk to each other, by twos.
    pub async fn talk(&self, users: usize) {
        for two in self.all[..users].chunks(2) {
            talk(&two[0], &two[1]).await;
        }
    }

    /// Every user's dialog answers and is the one it was, and every view is the PBX's.
    pub async fn all_go_on(&self, pair: &Pair) {
        join_all(self.all.iter().map(|user| insist(user, async || user.refresh().await))).await;
        for (user, was) in self.all.iter().zip(&self.were) {
            assert_eq!((user.remote_tag(), user.xref()), *was, "{}", user.name());
            let grave: Vec<_> = user
                .violations()
                .into_iter()
                .filter(|one| !(one.is_explained_by_takeover() || is_proxied(one)))
                .collect();
            assert_eq!(grave, [], "{}", user.name());
        }
        pair.views_are_true(&self.all).await;
    }

    /// A talking user puts its call on hold and takes it back.
    pub async fn hold_and_retrieve(&self, user: usize) {
        let user = &self.all[user];
        let call = user.view().calls().first().map(|call| call.id.clone()).expect("a call");
        assert!(insist(user, async || user.hold(&call).await).await.is_done());
        assert!(insist(user, async || user.retrieve(&call).await).await.is_done());
    }

    /// Users from `first` on call one number after the other.
    pub fn keep_calling(&self, first: usize) -> Calling {
        Calling::begin(&self.all[first..])
    }
}

/// A proxy between adds a Record-Route of its own, which is no fault of the gateway.
fn is_proxied(violation: &Violation) -> bool {
    matches!(violation, Violation::RecordRouteNotCopied { .. })
}

/// Asks again while the answer is 503, which says that nothing was done: no quorum is heard for a moment, as happens on a
/// machine that is busy with other things. What may have been done is not asked again.
async fn insist<T>(user: &RccUser, ask: impl AsyncFn() -> Result<T, Unanswered>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(Unanswered::Sip { status: 503, .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(why) => panic!("{}: {why}", user.name()),
            }
        }
    };
    let name = user.name();
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{name}: 503 for {PATIENCE:?}"))
}

/// As `insist`. A sign-in that was refused in the middle begins anew; 481 is what an INVITE gets that is repeated while its
/// first is still being committed.
async fn sign_in(user: &RccUser) {
    let signing_in = async {
        loop {
            match user.sign_in().await {
                Ok(_) => return,
                Err(
                    SignInError::Invite(Unanswered::Sip { status: 481 | 503, .. })
                    | SignInError::Service { why: Unanswered::Sip { status: 503, .. }, .. },
                ) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(why) => panic!("{}: {why}", user.name()),
            }
        }
    };
    let name = user.name();
    tokio::time::timeout(PATIENCE, signing_in).await.unwrap_or_else(|_| panic!("{name}: 503 for {PATIENCE:?}"));
}

/// One calls, the other answers.
async fn talk(caller: &RccUser, callee: &RccUser) {
    let placed = insist(caller, async || caller.make_call(&callee.line()).await).await;
    assert!(placed.is_done(), "{:?}", placed.refusal());
    let call = placed.call().unwrap().call.clone();
    let ringing =
        |view: &CallView| view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone());
    let theirs = callee.until(PATIENCE, ringing).await.expect("it rings");
    assert!(insist(callee, async || callee.answer(&theirs).await).await.is_done());
    for (user, id) in [(caller, &call), (callee, &theirs)] {
        user.until(PATIENCE, |view| (view.phase(id)? == Phase::Talking).then_some(())).await.expect("they talk");
    }
}
