//! How many connections to one origin may be in use at once, and who gets the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::object::Priority;

/// The slots of one origin.
pub(super) struct Slots {
    limit: usize,
    max_waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Slots in use, those of prefetches among them.
    used: usize,
    prefetching: usize,
    demand: VecDeque<oneshot::Sender<Slot>>,
    prefetch: VecDeque<oneshot::Sender<Slot>>,
}

/// The right to one connection. Dropping it lets the next one in.
pub(super) struct Slot {
    /// Absent once it was given back.
    slots: Option<Arc<Slots>>,
    priority: Priority,
}

impl Slots {
    /// So many connections (at least one) and so many that wait for one.
    pub(super) fn new(limit: usize, max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            max_waiting,
            state: Mutex::default(),
        })
    }

    /// Waits for a slot. `None`: too many wait already, or there is none for prefetches.
    pub(super) async fn take(self: &Arc<Self>, priority: Priority) -> Option<Slot> {
        if priority == Priority::Prefetch && self.limit < 2 {
            return None;
        }
        let granted = {
            let mut state = self.state.lock();
            if self.is_free(&state, priority) {
                Self::occupy(&mut state, priority);
                return Some(self.slot(priority));
            }
            let queue = match priority {
                Priority::Demand => &mut state.demand,
                Priority::Prefetch => &mut state.prefetch,
            };
            if queue.len() >= self.max_waiting {
                queue.retain(|waiting| !waiting.is_closed());
            }
            if queue.len() >= self.max_waiting {
                return None;
            }
            let (grant, granted) = oneshot::channel();
            queue.push_back(grant);
            granted
        };
        granted.await.ok()
    }

    /// How many there are.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        self.state.lock().used
    }

    /// Prefetches leave half of the slots free, and the only one.
    fn is_free(&self, state: &State, priority: Priority) -> bool {
        let is_within_share = match priority {
            Priority::Demand => true,
            Priority::Prefetch => state.prefetching < self.limit / 2,
        };
        state.used < self.limit && is_within_share
    }

    fn occupy(state: &mut State, priority: Priority) {
        state.used += 1;
        state.prefetching += usize::from(priority == Priority::Prefetch);
    }

    fn slot(self: &Arc<Self>, priority: Priority) -> Slot {
        Slot {
            slots: Some(Arc::clone(self)),
            priority,
        }
    }

    /// Hands free slots to those who wait, demand first.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let (grant, slot) = {
                let mut state = self.state.lock();
                let Some((grant, priority)) = self.next(&mut state) else {
                    return;
                };
                Self::occupy(&mut state, priority);
                (grant, self.slot(priority))
            };
            // Whoever waited may have left meanwhile; then the slot comes back here and goes on.
            if let Err(slot) = grant.send(slot) {
                slot.give_back_quietly();
            }
        }
    }

    fn next(&self, state: &mut State) -> Option<(oneshot::Sender<Slot>, Priority)> {
        for priority in [Priority::Demand, Priority::Prefetch] {
            if !self.is_free(state, priority) {
                continue;
            }
            let queue = match priority {
                Priority::Demand => &mut state.demand,
                Priority::Prefetch => &mut state.prefetch,
            };
            if let Some(grant) = queue.pop_front() {
                return Some((grant, priority));
            }
        }
        None
    }

    fn release(&self, priority: Priority) {
        let mut state = self.state.lock();
        state.used -= 1;
        state.prefetching -= usize::from(priority == Priority::Prefetch);
    }
}

impl Slot {
    /// For the loop that hands out slots: it looks for the next one itself.
    fn give_back_quietly(mut self) {
        if let Some(slots) = self.slots.take() {
            slots.release(self.priority);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.slots.take() {
            slots.release(self.priority);
            slots.hand_out();
        }
    }
}
