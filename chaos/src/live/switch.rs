//! A network switch in this process, over TAP devices: every frame between the nodes goes through one table of rules, so
//! that it can be dropped, delayed, doubled, overtaken, or held and released late, all from one seed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tun_rs::AsyncDevice;

use crate::seed::Chance;

/// Frames on their way out of one port; more are dropped, as a switch does.
const QUEUE_MAX: usize = 65_536;
const FRAME_BYTES_MAX: usize = 65_536;

/// Which frames a rule is about: from port, to port, and one address that must be source or destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub from: Option<usize>,
    pub to: Option<usize>,
    pub address: Vec<Ipv4Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Drop,
    /// So many of a hundred are lost.
    Lose(u64),
    /// From, to.
    DelayMs(u64, u64),
    Double(u64),
    /// So many of a hundred wait so long, and are overtaken.
    Overtake(u64, u64),
    /// Kept until the rule goes.
    Hold,
    BytesPerS(u64),
}

struct Rule {
    which: Match,
    action: Action,
    hits: Arc<AtomicU64>,
    held: Vec<(usize, Vec<u8>)>,
    /// For a slow link: when it will be free again.
    free_at: Option<Instant>,
}

#[derive(Default)]
struct Table {
    rules: BTreeMap<u64, Rule>,
    next: u64,
}

pub struct Switch {
    table: Arc<Mutex<Table>>,
    out: Vec<mpsc::Sender<(Instant, Vec<u8>)>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Switch {
    /// Port n's stations have MAC addresses that end in n.
    pub fn start(ports: Vec<AsyncDevice>, seed: u64) -> Self {
        let table: Arc<Mutex<Table>> = Arc::default();
        let chance = Arc::new(Mutex::new(Chance::new(seed)));
        let (mut out, mut queues, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for _ in &ports {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            out.push(sender);
            queues.push(queue);
        }
        for (port, (device, queue)) in ports.into_iter().zip(queues).enumerate() {
            let device = Arc::new(device);
            tasks.push(tokio::spawn(send(device.clone(), queue)));
            tasks.push(tokio::spawn(receive(port, device, table.clone(), chance.clone(), out.clone())));
        }
        Self { table, out, tasks }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the rule's number, and a count of the frames it has met.
    pub fn add(&self, which: Match, action: Action) -> (u64, Arc<AtomicU64>) {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        let hits = Arc::new(AtomicU64::new(0));
        let rule = Rule { which, action, hits: hits.clone(), held: Vec::new(), free_at: None };
        table.rules.insert(number, rule);
        (number, hits)
    }

    /// Takes a rule away and lets go what it held.
    pub fn remove(&self, number: u64) {
        let Some(rule) = self.table().rules.remove(&number) else { return };
        for (to, frame) in rule.held {
            // Err: the queue is full, and a full queue drops.
            let _ = self.out[to].try_send((Instant::now(), frame));
        }
    }
}

/// Frames that are due go out in the order of their time; equal times keep their order.
async fn send(device: Arc<AsyncDevice>, mut queue: mpsc::Receiver<(Instant, Vec<u8>)>) {
    let mut waiting: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
    let mut arrived = 0;
    loop {
        let next = waiting.first_key_value().map(|((at, _), _)| *at);
        tokio::select! {
            biased;
            frame = queue.recv() => {
                let Some((at, frame)) = frame else { return };
                arrived += 1;
                waiting.insert((at, arrived), frame);
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
                    // Err: the device is down or gone; the frame is lost.
                    let _ = device.send(&first.remove()).await;
                }
            }
        }
    }
}

async fn receive(
    port: usize,
    device: Arc<AsyncDevice>,
    table: Arc<Mutex<Table>>,
    chance: Arc<Mutex<Chance>>,
    out: Vec<mpsc::Sender<(Instant, Vec<u8>)>>,
) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    while let Ok(read) = device.recv(&mut buffer).await {
        let frame = &buffer[..read];
        let Some(to) = frame.first_chunk::<6>() else { continue };
        let targets: Vec<usize> = match to[0] & 1 {
            0 => vec![usize::from(to[5])],
            _ => (0..out.len()).filter(|other| *other != port).collect(),
        };
        for target in targets.into_iter().filter(|target| *target < out.len() && *target != port) {
            let sends = {
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                let mut chance = chance.lock().unwrap_or_else(PoisonError::into_inner);
                table.decide(port, target, frame, &mut chance, Instant::now())
            };
            for at in sends {
                // Err: the queue is full, and a full queue drops.
                let _ = out[target].try_send((at, frame.to_vec()));
            }
        }
    }
}

impl Table {
    /// When the frame goes out: never, once, or more often.
    fn decide(&mut self, from: usize, to: usize, frame: &[u8], chance: &mut Chance, now: Instant) -> Vec<Instant> {
        let (mut copies, mut delay_ms) = (1, 0);
        let mut not_before = now;
        for rule in self.rules.values_mut().filter(|rule| rule.which.is_met(from, to, frame)) {
            let hit = || rule.hits.fetch_add(1, Ordering::Relaxed);
            match rule.action {
                Action::Drop => {
                    hit();
                    return Vec::new();
                }
                Action::Lose(percent) if chance.percent(percent) => {
                    hit();
                    return Vec::new();
                }
                Action::Hold => {
                    hit();
                    rule.held.push((to, frame.to_vec()));
                    return Vec::new();
                }
                Action::DelayMs(least, most) => {
                    hit();
                    delay_ms += chance.between(least, most);
                }
                Action::Double(percent) if chance.percent(percent) => {
                    hit();
                    copies += 1;
                }
                Action::Overtake(percent, ms) if chance.percent(percent) => {
                    hit();
                    delay_ms += ms;
                }
                Action::BytesPerS(bytes) => {
                    hit();
                    let begins = rule.free_at.map_or(now, |free| free.max(now));
                    let takes = Duration::from_micros(frame.len() as u64 * 1_000_000 / bytes.max(1));
                    rule.free_at = Some(begins + takes);
                    not_before = not_before.max(begins + takes);
                }
                _ => {}
            }
        }
        vec![not_before + Duration::from_millis(delay_ms); copies]
    }
}

impl Match {
    fn is_met(&self, from: usize, to: usize, frame: &[u8]) -> bool {
        self.from.is_none_or(|wanted| wanted == from)
            && self.to.is_none_or(|wanted| wanted == to)
            && (self.address.is_empty()
                || addresses(frame).is_some_and(|two| two.iter().any(|one| self.address.contains(one))))
    }
}

/// Source and destination of an IPv4 frame.
fn addresses(frame: &[u8]) -> Option<[Ipv4Addr; 2]> {
    let header = frame.get(14..34).filter(|_| frame.get(12..14) == Some(&[8, 0]))?;
    let at = |from: usize| Ipv4Addr::new(header[from], header[from + 1], header[from + 2], header[from + 3]);
    Some([at(12), at(16)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0; 34];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[26..30].copy_from_slice(&source);
        frame[30..34].copy_from_slice(&destination);
        frame
    }

    fn table(which: Match, action: Action) -> Table {
        let rule = Rule { which, action, hits: Arc::default(), held: Vec::new(), free_at: None };
        Table { rules: [(1, rule)].into(), next: 1 }
    }

    #[tokio::test]
    async fn a_one_way_cut_drops_one_direction_alone() {
        let mut table = table(Match { from: Some(1), to: Some(2), address: Vec::new() }, Action::Drop);
        let (now, mut chance) = (Instant::now(), Chance::new(1));
        let frame = frame([10, 77, 0, 1], [10, 77, 0, 2]);
        assert_eq!(table.decide(1, 2, &frame, &mut chance, now), []);
        assert_eq!(table.decide(2, 1, &frame, &mut chance, now), [now]);
        assert_eq!(table.rules[&1].hits.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_address_narrows_a_rule_in_both_directions() {
        let pbx = Ipv4Addr::new(10, 77, 0, 101);
        let mut table = table(Match { address: vec![pbx], ..Match::default() }, Action::Drop);
        let (now, mut chance) = (Instant::now(), Chance::new(1));
        assert!(table.decide(0, 1, &frame([10, 77, 0, 101], [10, 77, 0, 1]), &mut chance, now).is_empty());
        assert!(table.decide(1, 0, &frame([10, 77, 0, 1], [10, 77, 0, 101]), &mut chance, now).is_empty());
        assert_eq!(table.decide(1, 0, &frame([10, 77, 0, 1], [10, 77, 0, 254]), &mut chance, now), [now]);
    }

    #[tokio::test]
    async fn frames_are_delayed_doubled_held_and_slowed() {
        let (now, mut chance) = (Instant::now(), Chance::new(1));
        let frame = frame([10, 77, 0, 1], [10, 77, 0, 2]);
        let ms = |ms| now + Duration::from_millis(ms);
        let mut delayed = table(Match::default(), Action::DelayMs(40, 40));
        assert_eq!(delayed.decide(1, 2, &frame, &mut chance, now), [ms(40)]);
        let mut doubled = table(Match::default(), Action::Double(100));
        assert_eq!(doubled.decide(1, 2, &frame, &mut chance, now), [now, now]);
        let mut held = table(Match::default(), Action::Hold);
        assert_eq!(held.decide(1, 2, &frame, &mut chance, now), []);
        assert_eq!(held.rules[&1].held, [(2, frame.clone())]);
        let mut slow = table(Match::default(), Action::BytesPerS(34_000));
        assert_eq!(slow.decide(1, 2, &frame, &mut chance, now), [ms(1)]);
        assert_eq!(slow.decide(1, 2, &frame, &mut chance, now), [ms(2)]);
    }
}
