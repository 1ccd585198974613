//! What a seed means: how the world behaves, and which faults it suffers when.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::net::Weather;

/// A kind of world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Everything that can happen, mixed.
    #[default]
    Mixed,
    /// Old packets held and released late, pauses, a slow PBX: what a missing fence needs to show.
    Fence,
    /// Logs whose end is cut off and stores that are lost, just before they matter.
    Stores,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Mixed, Self::Fence, Self::Stores];
}

/// One thing done to the world, and undone after `lasts_ms` where it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The process is killed; its kernel says so to whoever asks.
    Kill { node: u64 },
    /// The machine loses power. What its disk had not synced is gone.
    PowerCut { node: u64 },
    /// Every machine loses power at once.
    Blackout,
    /// The process stands still and knows nothing of it.
    Pause { node: u64 },
    /// Nothing passes from one to the other.
    CutOneWay { from: u64, to: u64 },
    /// Nothing passes between a node and the others.
    Isolate { node: u64 },
    /// What one sends to the other is kept, and arrives when it is over.
    Hold { from: u64, to: u64 },
    /// The disk says that it has synced, and has not; then the power goes.
    LyingDisk { node: u64 },
    /// The disk is gone.
    LostDisk { node: u64 },
    /// The leader hands over to a data node, as before maintenance.
    Switchover,
    /// The log is cut to a snapshot.
    CutLog { node: u64 },
    /// The node's link to the PBX is lost.
    LinkLost { node: u64 },
}

impl Fault {
    /// The node that has to come back.
    pub fn stops(self) -> Option<u64> {
        match self {
            Self::Kill { node } | Self::PowerCut { node } | Self::LyingDisk { node } | Self::LostDisk { node } => {
                Some(node)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { node } => write!(f, "node {node} is killed"),
            Self::PowerCut { node } => write!(f, "node {node} loses power"),
            Self::Blackout => write!(f, "all nodes lose power"),
            Self::Pause { node } => write!(f, "node {node} stands still"),
            Self::CutOneWay { from, to } => write!(f, "nothing passes from node {from} to node {to}"),
            Self::Isolate { node } => write!(f, "node {node} is cut off"),
            Self::Hold { from, to } => write!(f, "packets from node {from} to node {to} are held back"),
            Self::LyingDisk { node } => write!(f, "node {node}'s disk lies, then its power goes"),
            Self::LostDisk { node } => write!(f, "node {node} loses its disk"),
            Self::Switchover => write!(f, "a planned switchover"),
            Self::CutLog { node } => write!(f, "node {node} cuts its log"),
            Self::LinkLost { node } => write!(f, "node {node} loses its link to the PBX"),
        }
    }
}

/// When, what, for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub at_ms: u64,
    pub lasts_ms: u64,
    pub fault: Fault,
}

/// Everything a seed decides before the run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub profile: Profile,
    pub weather: Weather,
    pub faults: Vec<Planned>,
    /// Faults begin before this, and all are healed at it.
    pub faults_until_ms: u64,
    pub lan_timers: bool,
    pub keys: u64,
    /// Between two operations of one writer.
    pub pace_ms: u64,
    /// How long the PBX takes for a service.
    pub pbx_ms: std::ops::Range<u64>,
    pub users: u64,
    /// At most so long what a front end and a node say to each other is under way.
    pub front_us: u64,
    /// At most so long a write is under way to a disk.
    pub disk_us: u64,
}

pub const DATA: [u64; 2] = [1, 2];
pub const ALL: [u64; 3] = [1, 2, 3];

impl Plan {
    pub fn of(seed: u64, profile: Profile) -> Self {
        let mut dice = Dice::new(match profile {
            Profile::Mixed => seed,
            Profile::Fence => seed ^ 0xfe_4ce,
            Profile::Stores => seed ^ 0x57_04e5,
        });
        let is_fence = profile == Profile::Fence;
        let far = dice.within(1..30) * 100;
        let weather = Weather {
            delay_us: 100..100 + far,
            late_permille: if dice.one_in(2) { dice.within(1..40) } else { 0 },
            late_us: 5_000..5_000 + dice.within(5..400) * 1_000,
            lost_permille: if dice.one_in(3) { dice.within(1..30) } else { 0 },
            twice_permille: if dice.one_in(2) { dice.within(1..60) } else { 0 },
        };
        let faults_until_ms = dice.within(3_000..5_000);
        let count = if is_fence { dice.within(2..5) } else { dice.within(1..7) };
        let mut faults: Vec<Planned> = match profile {
            Profile::Stores => around_a_store(&mut dice),
            _ => (0..count).map(|_| planned(&mut dice, is_fence, faults_until_ms)).collect(),
        };
        faults.sort_by_key(|planned| planned.at_ms);
        // Two stores lost are more than three voters can stand.
        let mut is_first = true;
        let loses_store = |fault| matches!(fault, Fault::LyingDisk { .. } | Fault::LostDisk { .. });
        faults.retain(|planned| !loses_store(planned.fault) || std::mem::replace(&mut is_first, false));
        Self {
            seed,
            profile,
            weather,
            faults,
            faults_until_ms,
            lan_timers: dice.one_in(2),
            keys: dice.within(2..6),
            pace_ms: dice.within(10..60),
            pbx_ms: if is_fence || dice.one_in(4) { 1..dice.within(50..600) } else { 1..dice.within(3..40) },
            users: dice.within(2..5),
            front_us: if dice.one_in(2) { dice.within(1_000..20_000) } else { dice.within(1..1_000) },
            disk_us: if dice.one_in(2) { dice.within(200..8_000) } else { 0 },
        }
    }
}

/// A node's log gets an end that nobody else has, which is cut off when it hears the others again, and then it dies. Or: the
/// witness lags, the disk of one of the two who know is lost, and it comes back when the other one is cut off.
fn around_a_store(dice: &mut Dice) -> Vec<Planned> {
    let node = *dice.pick(&DATA);
    let other = 3 - node;
    let from = dice.within(500..1_200);
    let is_cut_off = dice.one_in(2);
    let lasts = if is_cut_off { dice.within(300..900) } else { dice.within(100..500) };
    let until = from + lasts;
    let planned = |at_ms, lasts_ms, fault| Planned { at_ms, lasts_ms, fault };
    if is_cut_off {
        return vec![
            planned(from, lasts, Fault::Isolate { node }),
            planned(until + dice.within(5..300), dice.within(100..400), Fault::Kill { node }),
        ];
    }
    vec![
        planned(from, lasts + dice.within(1..30), Fault::Isolate { node: 3 }),
        planned(until - dice.within(20..90), dice.within(100..200), Fault::LostDisk { node: other }),
        planned(until, dice.within(1_500..2_500), Fault::Isolate { node }),
    ]
}

fn planned(dice: &mut Dice, is_fence: bool, until_ms: u64) -> Planned {
    let node = if dice.one_in(5) { 3 } else { *dice.pick(&DATA) };
    let other = *dice.pick(&ALL.map(|id| if id == node { id % 3 + 1 } else { id }));
    let fault = if is_fence {
        let node = *dice.pick(&DATA);
        let other = 3 - node;
        match dice.within(0..15) {
            // What the leader says is late, and not later than a lease: its answers find a node that may act.
            10.. => Fault::Hold { from: other, to: node },
            0..=3 => Fault::Pause { node },
            4..=5 => Fault::Isolate { node },
            6 => Fault::Hold { from: node, to: other },
            7 => Fault::Hold { from: node, to: 3 },
            8 => Fault::Kill { node },
            _ => Fault::Switchover,
        }
    } else {
        match dice.within(0..22) {
            0..=3 => Fault::Kill { node },
            4..=5 => Fault::PowerCut { node },
            6 => Fault::Blackout,
            7..=8 => Fault::Pause { node },
            9..=10 => Fault::CutOneWay { from: node, to: other },
            11..=12 => Fault::Isolate { node },
            13..=14 => Fault::Hold { from: node, to: other },
            15 => Fault::LyingDisk { node },
            16 => Fault::LostDisk { node },
            17..=18 => Fault::Switchover,
            19..=20 => Fault::LinkLost { node: *dice.pick(&DATA) },
            _ => Fault::CutLog { node },
        }
    };
    let at_ms = dice.within(400..until_ms - 300);
    if is_fence && matches!(fault, Fault::Hold { to, .. } if to != 3) && !dice.one_in(4) {
        return Planned { at_ms, lasts_ms: dice.within(180..290), fault };
    }
    let lasts_ms = if dice.one_in(3) { dice.within(10..200) } else { dice.within(200..1_800) };
    Planned { at_ms, lasts_ms, fault }
}
