//! A node that is emptied and stopped.

use lyncpin::client::{FrontEndOptions, SignInError, Unanswered};

use crate::rig::{Files, Wanted, account, is_clean, one_call, run, talk};

#[test]
fn a_draining_node_refuses_new_users_and_serves_its_own() {
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let (alice, bob, carol) =
                (front_end.user(account(0)), front_end.user(account(1)), front_end.user(account(2)));
            alice.sign_in().await.unwrap();
            bob.sign_in().await.unwrap();
            let (call, _) = talk(&alice, &bob).await;
            rig.gateway.drain();
            let refused = carol.sign_in().await;
            assert!(matches!(&refused, Err(SignInError::Invite(Unanswered::Sip { status: 503, .. }))), "{refused:?}");
            assert!(alice.hold(&call).await.unwrap().is_done());
            assert!(alice.retrieve(&call).await.unwrap().is_done());
            assert!(alice.hang_up(&call).await.unwrap().is_done());
            one_call(&bob, &alice).await;
            bob.refresh().await.unwrap();
            is_clean(&[&alice, &bob]);
        },
    );
}
