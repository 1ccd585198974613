//! What an administrator does when more is lost than the pair can bear: a backup put back, a lost quorum given up.

use futures_util::future::join_all;
use lyncpin::client::RccUser;

use super::pair::{Pair, run};
use super::{all_go_on, identities, talk};

#[test]
fn a_backup_put_into_an_empty_cluster_brings_every_dialog_back() {
    run(async {
        let mut pair = Pair::start(8).await;
        let users = pair.users(8, 2).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        talk(&users[0], &users[1]).await;
        let file = pair.folder().join("lyncpin.backup");
        let file = file.to_str().unwrap();
        let (is_done, told) = pair.ctl(1, &["backup", file]).await;
        assert!(is_done, "{told:#}");
        let (is_done, told) = pair.ctl(2, &["restore", file]).await;
        assert!(!is_done && told["error"].as_str().is_some_and(|why| why.contains("8 records already")), "{told:#}");
        for id in 1..=3 {
            pair.kill(id);
            pair.wipe(id);
        }
        pair.start_again(&[1, 2, 3]).await;
        std::fs::write(pair.folder().join("broken"), &std::fs::read(file).unwrap()[..200]).unwrap();
        let broken = pair.folder().join("broken");
        let (is_done, told) = pair.ctl(2, &["restore", broken.to_str().unwrap()]).await;
        assert!(!is_done && told["error"].as_str().is_some_and(|why| why.contains("not a whole backup")), "{told:#}");
        let (is_done, told) = pair.ctl(2, &["restore", file]).await;
        assert!(is_done, "{told:#}");
        all_go_on(&pair, &users, &were).await;
        pair.stop();
    });
}

#[test]
fn the_survivor_of_two_lost_voters_goes_on_when_a_person_says_so() {
    run(async {
        let mut pair = Pair::start(8).await;
        let users = pair.users(8, 2).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        talk(&users[0], &users[1]).await;
        pair.kill(2);
        pair.wipe(2);
        let recover = |pair: &Pair, more: &[&str]| pair.command(1, &["ctl", "recover"], more);
        let (is_done, told) = recover(&pair, &["--accept-data-loss"]);
        assert!(!is_done && told.contains("stop this node first"), "{told}");
        pair.kill(1);
        let (is_done, told) = recover(&pair, &["--accept-data-loss"]);
        assert!(!is_done && told.contains("node3") && told.contains("answers"), "{told}");
        pair.kill(3);
        pair.wipe(3);
        let (is_done, told) = recover(&pair, &[]);
        assert!(!is_done && told.contains("nothing was changed"), "{told}");
        assert!(
            told.contains("users concerned                   8") && told.contains("user10001@contoso.com"),
            "{told}"
        );
        let (is_done, told) = recover(&pair, &["--accept-data-loss"]);
        assert!(is_done && told.contains("in epoch 1"), "{told}");
        pair.start_again(&[1]).await;
        all_go_on(&pair, &users, &were).await;
        // The lost machines are set up again, with empty disks and their old configuration.
        pair.start_again(&[2, 3]).await;
        for _ in 0..500 {
            let (_, status) = pair.ctl(1, &["status"]).await;
            if status["cluster"]["spare_failures"] == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        pair.kill(1);
        all_go_on(&pair, &users, &were).await;
        pair.stop();
    });
}
