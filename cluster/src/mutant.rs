//! Bugs planted on purpose, one at a time, to see that the checkers of the simulation catch them. Without the feature
//! `mutants` the answer is no when the code is compiled, and nothing of it is left.

/// Each is asked for at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A fenced incarnation still writes, whoever owns the record.
    NoFence,
    /// `>=` for `>` where a node looks whether a later life of it began: its own beginning ends it.
    OwnJoinEndsLife,
    /// A node that was fenced never learns of it.
    FencedLivesOn,
    /// A node that joins anew leaves its former life, and what that owned, alone.
    JoinLeavesFormer,
    /// What a dead node owned is removed.
    RecordsDieWithOwner,
    /// A write replaces whatever version there is.
    StaleVersionAccepted,
    /// A write keeps the version of what it replaces.
    VersionReused,
    /// A snapshot lacks its last record.
    SnapshotLosesLast,
    /// A read is answered from the node's own copy, however old.
    StaleRead,
    /// A lost answer is taken for a refusal.
    LostIsDefinite,
    /// No data node ever campaigns.
    StuckElection,
    /// The witness leads and does not hand over.
    WitnessKeepsLeading,
    /// Nodes are fenced before their lease has run out.
    FenceWithoutLease,
    /// A leader that is started again leads on without an election.
    LeaderRestored,
    /// What is cut off the log's end stays on the disk.
    TruncateForgotten,
    /// A sync is acknowledged and not done.
    NoFsync,
    /// A node whose store is gone votes as if it had never voted.
    VoteAfterEmptyStore,
    /// Effects are carried out before the record that explains them is committed.
    AnswerBeforeCommit,
    /// What was asked of the PBX is asked again at takeover.
    BlindRepeat,
    /// What was asked of the PBX is not remembered.
    AskedNotRecorded,
    /// The local CSeq starts again at takeover.
    CSeqInMemory,
    /// Answers given are not known to the next owner.
    PerNodeTransactionCache,
    /// Events that wait are lost at takeover, and believed told.
    DropEventAtTakeover,
    /// The event that was on the wire goes out once more under a number of its own.
    EventTwice,
    /// Events leave in the wrong order.
    EventOutOfOrder,
    /// The difference between view and truth is not told.
    NoReconcile,
    /// The mark by which a new owner knows its call again is ignored.
    IntentIgnored,
    /// After a takeover or a lost link no monitor is made again.
    MonitorNotRemade,
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or none.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    ON.set(mutant);
}

/// Whether this bug is planted.
#[cfg(feature = "mutants")]
pub fn mutant(which: Mutant) -> bool {
    ON.get() == Some(which)
}

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn mutant(_: Mutant) -> bool {
    false
}
