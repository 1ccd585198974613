//! Places for connections, counted over all and for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Refused;

#[derive(Debug)]
pub(super) struct Slots {
    total_max: usize,
    per_peer_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    per_peer: HashMap<IpAddr, usize>,
}

/// One place; given back when the stream that carries it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub(super) fn new(total_max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_peer_max, taken: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Slot, Refused> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total_max {
            return Err(Refused::TooManyConnections);
        }
        if taken.per_peer.get(&address).is_some_and(|count| *count >= self.per_peer_max) || self.per_peer_max == 0 {
            return Err(Refused::TooManyConnectionsOfPeer);
        }
        taken.total += 1;
        *taken.per_peer.entry(address).or_default() += 1;
        Ok(Slot { slots: Arc::clone(self), address })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(count) = taken.per_peer.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.per_peer.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_it_is_dropped_and_no_address_is_kept() {
        let slots = Slots::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = slots.take(a).unwrap();
        let second = slots.take("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(slots.take(a).unwrap_err(), Refused::TooManyConnectionsOfPeer);
        let third = slots.take(b).unwrap();
        assert_eq!(slots.take(b).unwrap_err(), Refused::TooManyConnections);
        drop(first);
        let fourth = slots.take(a).unwrap();
        drop((second, third, fourth));
        assert_eq!(slots.taken(), 0);
        assert!(slots.taken.lock().unwrap().per_peer.is_empty());
    }
}
