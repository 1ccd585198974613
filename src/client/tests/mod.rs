//! Transcripts with a scripted gateway, in memory.

mod flows;
mod services;
mod sign_in;
mod strict;
mod view;

use std::sync::Arc;

use super::fake::FakeGateway;
use super::{FrontEnd, FrontEndOptions, Product, RccUser, RecentHistory, UserOptions};

fn alice() -> UserOptions {
    UserOptions::new("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "sip:rccgw@rccgw.contoso.com")
}

/// One user behind one front-end connection to a gateway that answers with the samples.
struct Rig {
    gateway: FakeGateway,
    front_end: FrontEnd,
    user: RccUser,
    history: Arc<RecentHistory>,
}

impl Rig {
    fn new(options: UserOptions, front_end: FrontEndOptions) -> Self {
        let history = RecentHistory::new(1000);
        let gateway = FakeGateway::with_samples();
        let front_end = FrontEnd::new(FrontEndOptions { history: Some(history.clone()), ..front_end });
        front_end.attach(gateway.connect()).expect("room for a flow");
        let user = front_end.user(options);
        Self { gateway, front_end, user, history }
    }

    fn lync() -> Self {
        Self::new(alice(), FrontEndOptions::front_end("fe01.contoso.com"))
    }

    async fn signed_in() -> Self {
        let rig = Self::lync();
        rig.user.sign_in().await.expect("signs in");
        rig
    }

    /// Sends sample events and waits until the last is answered.
    async fn events(&self, samples: &[&str]) {
        let before = self.gateway.event_answers();
        for sample in samples {
            self.gateway.sample_event(sample).await;
        }
        self.answered(before.0 + before.1 + samples.len()).await;
    }

    async fn answered(&self, count: usize) {
        self.gateway
            .until(|all| (all.iter().filter(|(_, m)| m.status().is_some()).count() >= count).then_some(()))
            .await;
    }
}
