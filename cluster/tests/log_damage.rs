//! A store that is not what it was: either it says so at open, or everything is right.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use lyncpin_cluster::image::Shelf;
use lyncpin_cluster::log::OpenError;
use lyncpin_cluster::log::identity::{self, Identity};
use lyncpin_cluster::raft::{Entry, Vote};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use rig::{batch, copy, entries, fresh, image, reopened};
use tempfile::TempDir;

/// A stopped store of 300 entries with a vote, a snapshot, and its identity.
async fn stopped() -> (TempDir, Identity, Vec<Entry>) {
    let folder = tempfile::tempdir().unwrap();
    let (identity, mut log) = fresh(folder.path());
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.blocking_append((0..300).map(|n| batch(n, 700))).await.unwrap();
    let (meta, image) = image(50);
    log.shelf().save(meta, image).await.unwrap();
    let written = entries(&log).await;
    log.close().await;
    drop(log);
    drop(reopened(folder.path(), &identity).unwrap());
    (folder, identity, written)
}

/// Opens a damaged copy: either it says so, or everything is right.
async fn says_so_or_is_right(folder: &Path, identity: &Identity, written: &[Entry], what: &str) -> bool {
    match reopened(folder, identity) {
        Err(OpenError::Damaged(_)) => true,
        Err(OpenError::Io(error)) => panic!("{what}: {error}"),
        Ok(mut log) => {
            assert_eq!(entries(&log).await, written, "{what}");
            assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)), "{what}");
            // A snapshot may be unreadable, and says so then; it is never another one.
            if let Ok(found) = log.shelf().load().await {
                assert_eq!(found, Some(image(50)), "{what}");
            }
            false
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_or_does_no_harm() {
    let (folder, identity, written) = stopped().await;
    let db = |folder: &Path| -> PathBuf { folder.join("records").join("db") };
    let length = fs::metadata(db(folder.path())).unwrap().len();
    let mut noticed = 0;
    for n in 0..60_u64 {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let mut bytes = fs::read(db(copied.path())).unwrap();
        let at = usize::try_from(n * 7_919_123 % length).unwrap();
        bytes[at] ^= 0x41;
        fs::write(db(copied.path()), &bytes).unwrap();
        noticed += usize::from(says_so_or_is_right(copied.path(), &identity, &written, &format!("byte {at}")).await);
    }
    assert!(noticed > 0, "some of them hit the entries");
}

#[tokio::test]
async fn a_shortened_emptied_or_exchanged_store_is_not_voted_with() {
    let (folder, identity, written) = stopped().await;
    let length = fs::metadata(folder.path().join("records/db")).unwrap().len();
    for n in 0..20 {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        let db = fs::OpenOptions::new().write(true).open(copied.path().join("records/db")).unwrap();
        db.set_len(length * n / 20).unwrap();
        says_so_or_is_right(copied.path(), &identity, &written, &format!("{n}/20 of it")).await;
    }
    let damaged = |folder: &Path, identity: &Identity| matches!(reopened(folder, identity), Err(OpenError::Damaged(_)));
    let copied = || {
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        copied
    };
    let emptied = copied();
    fs::remove_dir_all(emptied.path().join("records")).unwrap();
    assert!(damaged(emptied.path(), &identity), "its files are gone");
    fs::create_dir(emptied.path().join("records")).unwrap();
    fs::write(emptied.path().join("records/db"), b"").unwrap();
    assert!(damaged(emptied.path(), &identity), "an empty file");
    let (other, other_identity, _) = stopped().await;
    let exchanged = copied();
    fs::remove_dir_all(exchanged.path().join("records")).unwrap();
    copy(&other.path().join("records"), &exchanged.path().join("records"));
    assert!(damaged(exchanged.path(), &identity), "another node's store");
    assert!(
        damaged(exchanged.path(), &other_identity)
            || Identity::read(exchanged.path()).unwrap() == Some(identity.clone())
    );
    // An older copy of its own store: the mark beside it knows more.
    let old = copied();
    let mut log = reopened(folder.path(), &identity).unwrap();
    log.blocking_append((300..310).map(|n| batch(n, 10))).await.unwrap();
    log.close().await;
    drop(log);
    fs::copy(folder.path().join("mark"), old.path().join("mark")).unwrap();
    assert!(damaged(old.path(), &identity), "an older copy");
    let aside = identity::set_aside(old.path()).unwrap();
    assert!(aside.join("records/db").exists() && Identity::read(old.path()).unwrap().is_none());
}
