//! The one-node store from the outside.

use std::sync::Arc;

use lyncpin_cluster::{
    Change, Claims, Command, CommitError, FencedStore, Incarnation, Limit, Member, MemoryStore, Notice, Refusal, Reply,
    Watch, Watched,
};

fn put(writer: Incarnation, key: &str, expected: u64) -> Change {
    Change::Put { writer, key: key.into(), expected, claims: Claims::default(), body: vec![1].into() }
}

async fn joined(store: &dyn FencedStore, node: &str) -> Incarnation {
    match store.propose(Command::Join { node: node.into() }).await.unwrap() {
        Reply::Joined { incarnation, .. } => incarnation,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_joins_again_inherits_its_records_and_fences_its_former_life() {
    let store: Arc<dyn FencedStore> = Arc::new(MemoryStore::new());
    let first = joined(&*store, "a").await;
    store.propose(Command::Batch { changes: vec![put(first, "k", 0)] }).await.unwrap();
    let reply = store.propose(Command::Join { node: "a".into() }).await.unwrap();
    let second = Incarnation(2);
    assert_eq!(reply, Reply::Joined { incarnation: second, inherited: 1 });
    assert_eq!(store.read("k").unwrap().owner, second);
    assert_eq!(store.members(), [Member { incarnation: second, node: "a".into() }]);
    let reply = store.propose(Command::Batch { changes: vec![put(first, "k", 1)] }).await.unwrap();
    assert_eq!(reply, Reply::Refused { change: 0, refusal: Refusal::Fenced { incarnation: first } });
}

#[tokio::test]
async fn the_answer_is_there_at_once() {
    let store = MemoryStore::new();
    let reply = store.propose(Command::Join { node: "a".into() }).now();
    assert!(matches!(reply, Ok(Ok(Reply::Joined { .. }))));
    assert!(store.catch_up().now().is_ok());
}

#[tokio::test]
async fn a_watch_sees_what_is_applied_in_order_and_nothing_of_what_is_refused() {
    let store = MemoryStore::new();
    let a = joined(&store, "a").await;
    let mut watch = store.watch();
    let changes = vec![put(a, "k1", 0), put(a, "k2", 0)];
    store.propose(Command::Batch { changes }).await.unwrap();
    store.propose(Command::Batch { changes: vec![put(a, "k1", 7)] }).await.unwrap();
    let b = joined(&store, "b").await;
    store.propose(Command::Fence { incarnation: a, heir: b }).await.unwrap();
    let delete = Change::Delete { writer: b, key: "k2".into(), expected: 4 };
    let take = Change::Take { writer: b, key: "k1".into(), expected: 3 };
    store.propose(Command::Batch { changes: vec![delete, take] }).await.unwrap();
    drop(store);
    let mut seen = Vec::new();
    while let Some(Watched::Notice(notice)) = watch.next().await {
        seen.push(notice);
    }
    assert_eq!(
        seen,
        [
            Notice::Put { key: "k1".into(), owner: a, version: 1 },
            Notice::Put { key: "k2".into(), owner: a, version: 2 },
            Notice::Joined { node: "b".into(), incarnation: b, inherited: 0 },
            Notice::Fenced { incarnation: a, heir: b, moved: 2 },
            Notice::Deleted { key: "k2".into(), version: 5 },
            Notice::Taken { key: "k1".into(), owner: b, version: 6 },
        ]
    );
}

#[tokio::test]
async fn a_slow_watcher_is_told_how_much_it_missed() {
    let store = MemoryStore::new();
    let mut watch = store.watch();
    for _ in 0..Watch::NOTICES_MAX + 10 {
        joined(&store, "a").await;
    }
    assert_eq!(watch.next().await, Some(Watched::Missed(10)));
    let next = Notice::Joined { node: "a".into(), incarnation: Incarnation(11), inherited: 0 };
    assert_eq!(watch.next().await, Some(Watched::Notice(next)));
}

#[tokio::test]
async fn what_passes_a_limit_is_refused_and_what_reaches_it_is_not() {
    let store = MemoryStore::new();
    let writer = joined(&store, "a").await;
    let claims = |count: usize, bytes: usize| Claims::new((0..count).map(|nr| (format!("{nr:0>bytes$}"), "h")));
    let change = |key_bytes: usize, body_bytes: usize, claims: Claims| Change::Put {
        writer,
        key: "k".repeat(key_bytes).into(),
        expected: 0,
        claims,
        body: vec![0; body_bytes].into(),
    };
    let cases = [
        (Limit::KeyBytesMax, change(256, 0, claims(0, 1)), change(257, 0, claims(0, 1))),
        (Limit::BodyBytesMax, change(1, 256 * 1024, claims(0, 1)), change(1, 256 * 1024 + 1, claims(0, 1))),
        (Limit::ClaimsMax, change(2, 0, claims(64, 3)), change(2, 0, claims(65, 3))),
        (Limit::ClaimBytesMax, change(3, 0, claims(1, 512)), change(3, 0, claims(1, 513))),
    ];
    for (limit, fits, passes) in cases {
        let reply = store.propose(Command::Batch { changes: vec![passes] }).await.unwrap();
        assert_eq!(reply, Reply::Refused { change: 0, refusal: Refusal::TooLarge { limit } });
        let reply = store.propose(Command::Batch { changes: vec![fits] }).await.unwrap();
        assert!(matches!(reply, Reply::Applied { .. }), "{limit:?}: {reply:?}");
    }
    let many = |count: usize| (0..count).map(|nr| put(writer, &format!("many/{nr}"), 0)).collect();
    let reply = store.propose(Command::Batch { changes: many(1025) }).await.unwrap();
    assert_eq!(reply, Reply::Refused { change: 0, refusal: Refusal::TooLarge { limit: Limit::ChangesMax } });
    assert!(matches!(store.propose(Command::Batch { changes: many(1024) }).await.unwrap(), Reply::Applied { .. }));
}

#[tokio::test]
async fn a_prefix_is_scanned_in_order_of_keys() {
    let store = MemoryStore::new();
    let writer = joined(&store, "a").await;
    let changes = ["b/2", "a/1", "b/10", "b", "c/1"].map(|key| put(writer, key, 0)).into();
    store.propose(Command::Batch { changes }).await.unwrap();
    let keys: Vec<_> = store.scan("b/").into_iter().map(|record| record.key.to_string()).collect();
    assert_eq!(keys, ["b/10", "b/2"]);
}

#[test]
fn every_commit_error_says_whether_it_is_definite() {
    use CommitError::{Closed, Full, Lost, NoQuorum, TimedOut};
    let definite = [NoQuorum, Full, Closed, Lost, TimedOut].map(CommitError::is_definite);
    assert_eq!(definite, [true, true, true, false, false]);
}
