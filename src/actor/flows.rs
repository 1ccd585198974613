//! The living flows of this node, and what is waiting to be written on each.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use crate::machine::effect::NextHop;
use crate::machine::input::FlowId;
use crate::trace::Ends;

/// Bytes waiting on one flow. A peer that reads slower than that loses its connection, not our memory; what it missed it
/// asks for again.
pub const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// What a waiting message costs beside its bytes; answers to pings are two bytes each.
const ENTRY_BYTES: usize = 96;

/// What waits to be written on one flow. Holds no heap while empty.
#[derive(Debug, Default)]
pub struct Outgoing {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    is_closed: bool,
    /// Closed because the peer reads too slowly: what it has not taken yet is given up as well.
    is_cut: bool,
}

impl Outgoing {
    /// False when the flow is closed, or is closed now because its peer reads too slowly.
    pub fn push(&self, message: Bytes) -> bool {
        let mut queue = self.lock();
        if queue.is_closed {
            return false;
        }
        queue.bytes += message.len() + ENTRY_BYTES;
        if queue.bytes > WAITING_BYTES_MAX {
            *queue = Queue { is_closed: true, is_cut: true, ..Queue::default() };
        } else {
            queue.messages.push_back(message);
        }
        let is_open = !queue.is_closed;
        drop(queue);
        self.waker.wake();
        is_open
    }

    /// Ends the flow after what is waiting has been written.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.waker.wake();
    }

    /// Whether the peer read too slowly.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// The next message; `None` when the flow is to end.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.waker.register(cx.waker());
        let mut queue = self.lock();
        match queue.messages.pop_front() {
            Some(message) => {
                queue.bytes -= message.len() + ENTRY_BYTES;
                if queue.messages.is_empty() {
                    queue.messages = VecDeque::new();
                }
                Poll::Ready(Some(message))
            }
            None if queue.is_closed => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One flow as the rest of the node knows it.
#[derive(Clone, Debug)]
pub struct FlowHandle {
    pub id: FlowId,
    /// `None`: another node's, or in memory.
    pub local: Option<SocketAddr>,
    pub peer: SocketAddr,
    pub secure: bool,
    pub outgoing: Arc<Outgoing>,
}

impl FlowHandle {
    pub fn ends(&self) -> Ends {
        Ends { flow: self.id.0, local: self.local, peer: self.peer, is_secure: self.secure }
    }
}

/// All flows by id, and which one leads to a next hop.
#[derive(Debug, Default)]
pub struct Flows {
    next: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    flows: HashMap<FlowId, FlowHandle>,
    hops: HashMap<NextHop, FlowId>,
}

impl Flows {
    /// Numbers flows from here on: a number that a record of another node's life names is never one of ours.
    pub fn starting_at(first: u64) -> Self {
        Self { next: AtomicU64::new(first), table: Mutex::default() }
    }

    /// Who is at the other end, and whether the flow is secure.
    pub fn peer_of(&self, id: FlowId) -> Option<(SocketAddr, bool)> {
        self.lock().flows.get(&id).map(|handle| (handle.peer, handle.secure))
    }

    pub fn open(&self, local: Option<SocketAddr>, peer: SocketAddr, secure: bool) -> FlowHandle {
        let id = FlowId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let handle = FlowHandle { id, local, peer, secure, outgoing: Arc::default() };
        self.lock().flows.insert(id, handle.clone());
        handle
    }

    /// The flow is gone; what was waiting on it is lost.
    pub fn closed(&self, id: FlowId) {
        let mut table = self.lock();
        if let Some(handle) = table.flows.remove(&id) {
            handle.outgoing.close();
        }
        table.hops.retain(|_, flow| *flow != id);
    }

    /// Requests to this hop may go over this flow. False when it is gone.
    pub fn leads_to(&self, id: FlowId, hop: NextHop) -> bool {
        let mut table = self.lock();
        let is_there = table.flows.contains_key(&id);
        if is_there {
            table.hops.insert(hop, id);
        }
        is_there
    }

    pub fn to_hop(&self, hop: &NextHop) -> Option<FlowId> {
        self.lock().hops.get(hop).copied()
    }

    /// False when the flow is gone.
    pub fn send(&self, id: FlowId, message: Bytes) -> bool {
        let handle = self.lock().flows.get(&id).cloned();
        handle.is_some_and(|handle| handle.outgoing.push(message))
    }

    pub fn count(&self) -> usize {
        self.lock().flows.len()
    }

    /// Ends every flow after what is waiting has been written.
    pub fn close_all(&self) {
        for handle in self.lock().flows.values() {
            handle.outgoing.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_count_with_what_they_cost_and_too_many_cut_the_flow() {
        // Two bytes for each of a million pings were once allowed half a million entries.
        let outgoing = Outgoing::default();
        let pong = || Bytes::from_static(b"\r\n");
        let taken = (0..1_000_000).take_while(|_| outgoing.push(pong())).count();
        assert_eq!(taken, WAITING_BYTES_MAX / (2 + ENTRY_BYTES));
        assert!(outgoing.is_cut() && !outgoing.push(pong()));
        assert_eq!(outgoing.lock().messages.capacity(), 0);
    }

    #[test]
    fn what_is_taken_makes_room_again() {
        let outgoing = Outgoing::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..10 {
            assert!(outgoing.push(Bytes::from(vec![0; WAITING_BYTES_MAX - ENTRY_BYTES])));
            assert!(matches!(outgoing.poll_next(&mut cx), Poll::Ready(Some(_))));
        }
        outgoing.close();
        assert!(!outgoing.is_cut() && matches!(outgoing.poll_next(&mut cx), Poll::Ready(None)));
    }
}
