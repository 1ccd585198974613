//! What is done to a pair, and when: drawn from a seed, so that it can be had again.

use crate::fault::Kind;
use crate::seed::Chance;

/// Who is hit; found out when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node that acts for most users.
    Owner,
    /// The other data node.
    Standby,
    Witness,
    All,
    /// Owner or standby, as the seed has it.
    Any,
    /// No node: the surroundings.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the faults began.
    pub at_ms: u64,
    pub lasts_ms: u64,
    pub kind: Kind,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub length_ms: u64,
}

/// One scenario: its name, what it does, and to whom.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub faults: &'static [(Kind, Target)],
}

macro_rules! scenarios {
    ($($name:literal, $about:literal, [$(($kind:ident, $target:ident)),+];)+) => {
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name, about: $about, faults: &[$((Kind::$kind, Target::$target)),+],
        },)+];
    };
}

scenarios! {
    "kill", "the owner is killed with -9 and started again", [(Kill, Owner)];
    "pause", "the owner is frozen and thawed", [(Pause, Owner)];
    "one-way", "owner and standby cut off from each other, first one way, then the other", [(CutOneWay, Owner), (CutOneWay, Standby)];
    "power-all", "the power of all three nodes is cut", [(PowerCutAll, All)];
    "disk", "the owner's disk is full; later its disk answers EIO", [(NoSpace, Owner), (DiskError, Owner)];
    "intruders", "intruders at every door, requests that never end, torture messages", [(Intruders, Nobody), (Slowloris, Nobody), (Torture, Nobody)];
    "restarts", "the owner is killed again and again", [(Restarts, Owner)];
    "switchover", "a planned stop every few seconds", [(Switchover, Owner), (Switchover, Owner), (Switchover, Owner)];
    "partitions", "both ways, one node from everybody, the witness", [(CutBoth, Owner), (Isolate, Owner), (CutWitness, Witness)];
    "pbx-cut", "the PBX cannot be reached from the owner", [(CutPbx, Owner)];
    "weather", "packets are delayed, lost, overtaken and doubled", [(Delay, Owner), (Loss, Owner), (Reorder, Owner), (Duplicate, Owner)];
    "old-packets", "all the owner says is held, and let go when another has taken over", [(HoldOld, Owner), (HoldOld, Owner)];
    "resets", "all TCP connections of a node are reset", [(Reset, Owner), (Reset, Standby)];
    "slow-link", "one node has a slow link", [(SlowLink, Any)];
    "starved", "a node gets a fifth of a processor", [(StarveCpu, Owner)];
    "limits", "no file descriptors, then little memory", [(NoFiles, Owner), (NoMemory, Owner)];
    "hung-disk", "a disk that hangs, at the owner and at the witness", [(DiskHang, Owner), (DiskHang, Witness)];
    "slow-disk", "fsync takes long", [(DiskSlow, Any)];
    "power-one", "the power of the owner is cut", [(PowerCutOne, Owner)];
    "power-two", "the power of owner and witness is cut", [(PowerCutTwo, Owner)];
    "lying-disk", "fsync lies, then the power of all is cut: sessions must be lost, and seen to be", [(FsyncLies, All), (PowerCutAll, All)];
    "damage", "a byte of the stopped standby's store is flipped", [(FlipByte, Standby)];
    "truncation", "the largest file of the stopped standby's store is cut short", [(Truncate, Standby)];
    "wipe", "the store of one data node is wiped, later that of the other one; each comes back under a new id", [(Wipe, Standby), (Wipe, Owner)];
    "certificates", "the owner's certificate is rotated, later one has expired", [(CertRotated, Owner), (CertExpired, Owner)];
    "storm", "calls ring and end at idle phones as fast as they can, and the owner is killed meanwhile", [(EventStorm, Nobody), (Kill, Owner)];
    "clocks", "clocks jump and run at other rates", [(ClockJump, Owner), (ClockRate, Any)];
    "balancer", "the balancer is frozen, later killed", [(BalancerPause, Nobody), (BalancerKill, Nobody)];
    "pbx", "the PBX answers late, drops answers, answers twice, freezes, restarts", [
        (PbxSlow, Nobody), (PbxDrops, Nobody), (PbxTwice, Nobody), (PbxFreeze, Nobody), (PbxRestart, Nobody)];
    "flood", "OPTIONS as fast as four connections take them", [(Flood, Nobody)];
    "mixed", "six faults of any kind, drawn from the seed", [(Kill, Any)];
}

/// The faults `mixed` draws from.
const MIXED: &[(Kind, Target)] = &[
    (Kind::Kill, Target::Any),
    (Kind::Pause, Target::Any),
    (Kind::Isolate, Target::Any),
    (Kind::CutBoth, Target::Owner),
    (Kind::CutOneWay, Target::Any),
    (Kind::CutPbx, Target::Any),
    (Kind::CutWitness, Target::Witness),
    (Kind::Delay, Target::Any),
    (Kind::Loss, Target::Any),
    (Kind::HoldOld, Target::Owner),
    (Kind::Reset, Target::Any),
    (Kind::Switchover, Target::Any),
    (Kind::PbxSlow, Target::Nobody),
    (Kind::PbxTwice, Target::Nobody),
    (Kind::PbxRestart, Target::Nobody),
];
const MIXED_COUNT: usize = 6;

/// Several scenarios in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Six scenarios for every change.
    Ci,
    /// Every scenario.
    All,
}

impl Profile {
    pub fn scenarios(self) -> Vec<&'static Scenario> {
        match self {
            Self::Ci => SCENARIOS[..6].iter().collect(),
            // A lying disk is there to be caught: it cannot be green.
            Self::All => SCENARIOS.iter().filter(|scenario| scenario.name != "lying-disk").collect(),
        }
    }
}

pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Plan {
    /// The faults one after the other, each with time for its heirs before the next.
    pub fn draw(scenario: &Scenario, seed: u64, length_ms: u64) -> Self {
        let mut chance = Chance::new(seed);
        let drawn: Vec<(Kind, Target)> = match scenario.name {
            "mixed" => (0..MIXED_COUNT).filter_map(|_| chance.pick(MIXED).copied()).collect(),
            _ => scenario.faults.to_vec(),
        };
        let share_ms = length_ms / drawn.len().max(1) as u64;
        let step = |(n, (kind, target)): (usize, (Kind, Target))| {
            let lasts_ms = match kind {
                Kind::FsyncLies => length_ms,
                Kind::Reset | Kind::Switchover | Kind::CertRotated => 200,
                _ => (share_ms * chance.between(45, 60) / 100).max(500),
            };
            let at_ms = n as u64 * share_ms + chance.between(0, share_ms / 10);
            let target = match (target, chance.percent(50)) {
                (Target::Any, true) => Target::Owner,
                (Target::Any, false) => Target::Standby,
                (target, _) => target,
            };
            Step { at_ms, lasts_ms, kind, target }
        };
        Self { steps: drawn.into_iter().enumerate().map(step).collect(), length_ms }
    }

    pub fn has(&self, kinds: &[Kind]) -> bool {
        self.steps.iter().any(|step| kinds.contains(&step.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_plan_and_another_seed_another() {
        let mixed = scenario("mixed").expect("there");
        assert_eq!(Plan::draw(mixed, 7, 30_000), Plan::draw(mixed, 7, 30_000));
        assert_ne!(Plan::draw(mixed, 7, 30_000), Plan::draw(mixed, 8, 30_000));
    }

    #[test]
    fn every_fault_ends_before_the_run_does_and_one_at_a_time() {
        for scenario in SCENARIOS.iter().filter(|scenario| scenario.name != "lying-disk") {
            let plan = Plan::draw(scenario, 3, 12_000);
            for pair in plan.steps.windows(2) {
                assert!(pair[0].at_ms + pair[0].lasts_ms < pair[1].at_ms, "{}: {pair:?}", scenario.name);
            }
            assert!(plan.steps.iter().all(|step| step.at_ms + step.lasts_ms < 12_000), "{}", scenario.name);
            assert!(plan.steps.iter().all(|step| step.target != Target::Any), "{}", scenario.name);
        }
    }

    #[test]
    fn every_kind_of_fault_has_a_scenario_and_ci_has_six() {
        let named: Vec<Kind> = SCENARIOS.iter().flat_map(|scenario| scenario.faults).map(|(kind, _)| *kind).collect();
        let missing: Vec<&Kind> = Kind::ALL.iter().filter(|kind| !named.contains(kind)).collect();
        assert_eq!(missing, Vec::<&Kind>::new());
        let ci: Vec<&str> = Profile::Ci.scenarios().iter().map(|scenario| scenario.name).collect();
        assert_eq!(ci, ["kill", "pause", "one-way", "power-all", "disk", "intruders"]);
    }
}
