//! What can be done to a pair, by name, and what each should cost at most.

use serde::{Deserialize, Serialize};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$doc])* $name,)+ }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As a person reads it.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

faults! {
    Kill = "kill -9",
    Pause = "frozen process (SIGSTOP)",
    Restarts = "restart storm",
    Switchover = "planned stop (SIGTERM)",
    CutBoth = "voters cut off from each other, both ways",
    CutOneWay = "voters cut off from each other, one way",
    Isolate = "node cut off from everything",
    CutWitness = "witness cut off",
    CutPbx = "PBX cut off from one node",
    Delay = "packets delayed",
    Loss = "packets lost",
    Reorder = "packets reordered",
    Duplicate = "packets doubled",
    HoldOld = "old packets held and released late",
    Reset = "TCP connections reset",
    SlowLink = "slow link",
    StarveCpu = "CPU starvation",
    NoFiles = "no file descriptors left",
    NoMemory = "address space limited",
    NoSpace = "disk full",
    DiskError = "disk answers EIO",
    DiskHang = "disk hangs",
    DiskSlow = "fsync slow",
    FsyncLies = "fsync lies",
    PowerCutOne = "power cut of one node",
    PowerCutTwo = "power cut of two nodes",
    PowerCutAll = "power cut of all nodes",
    FlipByte = "byte flipped in a stopped node's store",
    Truncate = "file of a stopped node's store truncated",
    ClockJump = "clock jumps",
    ClockRate = "clock runs at another rate",
    BalancerKill = "balancer killed",
    BalancerPause = "balancer frozen",
    Wipe = "store wiped",
    CertRotated = "certificate of a node rotated",
    CertExpired = "certificate of a node expired",
    EventStorm = "storm of calls at idle phones",
    PbxSlow = "PBX answers late",
    PbxDrops = "PBX drops answers",
    PbxTwice = "PBX answers twice",
    PbxRestart = "PBX restarts",
    PbxFreeze = "PBX freezes",
    Intruders = "intruders at every door",
    Slowloris = "requests that never end",
    Torture = "torture messages",
    Flood = "flood of requests",
}

impl Kind {
    /// The longest gap a user should see, before the run's slack; `None`: no promise is made while it lasts.
    pub fn goal_ms(self) -> Option<u64> {
        match self {
            Self::Kill | Self::Restarts | Self::Reset | Self::Wipe | Self::CertExpired => Some(150),
            Self::Switchover | Self::CertRotated => Some(30),
            Self::Pause | Self::Isolate | Self::CutBoth | Self::CutOneWay | Self::CutWitness => Some(600),
            Self::NoSpace | Self::DiskError | Self::DiskHang | Self::PowerCutOne => Some(600),
            Self::Intruders | Self::Slowloris | Self::Torture => Some(150),
            _ => None,
        }
    }

    /// Whether the node it hits cannot go on owning sessions.
    pub fn takes_owner(self) -> bool {
        matches!(
            self,
            Self::Kill
                | Self::Pause
                | Self::Isolate
                | Self::Switchover
                | Self::CertRotated
                | Self::CertExpired
                | Self::NoSpace
                | Self::DiskError
                | Self::PowerCutOne
        )
    }

    /// Whether a watcher must be told: a node or its store is unwell, not only its surroundings.
    pub fn must_show(self) -> bool {
        self.takes_owner() || matches!(self, Self::FlipByte | Self::Truncate | Self::Wipe | Self::PowerCutAll)
    }

    /// Whether the operator's metrics and API must say so as well. Weather on the links and trouble of the balancer, of the PBX
    /// behind a link that stays up, and of clocks does not show there.
    pub fn must_show_to_operator(self) -> bool {
        self.must_show()
            || matches!(self, Self::CutBoth | Self::CutWitness | Self::CutPbx | Self::Restarts | Self::PowerCutTwo)
    }

    pub fn is_power_cut(self) -> bool {
        matches!(self, Self::PowerCutOne | Self::PowerCutTwo | Self::PowerCutAll)
    }

    pub fn damages_store(self) -> bool {
        matches!(self, Self::FlipByte | Self::Truncate)
    }
}
