//! Lanes: each raising thread hands its items to the reactor through a bounded queue of its own.
//!
//! One shared queue collapses when several cores push to it; a lane has one producer, so
//! producers never meet. A thread registers its lane at its first item (behind a lock, once) and
//! gives it up when it ends. The consumer keeps its own list of the lanes and reads the shared one
//! only when the version says that it changed.
//!
//! A lane ends in two steps: the producer's last push, then its `ended` flag (Release). An ended
//! lane is taken over by the next thread that registers, with what still lies in it: so there are
//! no more lanes than threads that raise at one time, however many come and go. The consumer lets
//! go of an ended lane that it finds empty. Both happen under the lock, where the flag is read
//! (Acquire) *before* the queue is looked at: if it was up, nothing can come after.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicUsize};
use crate::sync::{ArrayQueue, Mutex};

#[derive(Debug)]
struct Lane<T> {
    queue: ArrayQueue<T>,
    ended: CachePadded<AtomicBool>,
}

/// All lanes of one engine.
#[derive(Debug)]
pub struct Lanes<T> {
    capacity: usize,
    registered: Mutex<Vec<Arc<Lane<T>>>>,
    version: CachePadded<AtomicUsize>,
}

impl<T> Lanes<T> {
    /// No lanes yet; each will hold `capacity` items.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            registered: Mutex::new(Vec::new()),
            version: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// A lane for the calling thread.
    pub fn register(&self) -> Producer<T> {
        self.take_over().unwrap_or_else(|| self.add())
    }

    /// The emptiest lane whose thread has ended.
    fn take_over(&self) -> Option<Producer<T>> {
        let registered = self.registered.lock().expect("no panic under this lock");
        let ended = registered
            .iter()
            .filter(|lane| lane.ended.load(Acquire)) // SYNC(lane.end): after its last push
            .min_by_key(|lane| lane.queue.len())?;
        ended.ended.store(false, Relaxed);
        Some(Producer::new(Arc::clone(ended)))
    }

    fn add(&self) -> Producer<T> {
        let lane = Arc::new(Lane {
            queue: ArrayQueue::new(self.capacity),
            ended: CachePadded::new(AtomicBool::new(false)),
        });
        let producer = Producer::new(Arc::clone(&lane));
        let mut registered = self.registered.lock().expect("no panic under this lock");
        registered.push(lane);
        // Relaxed: whoever reads a new version takes the lock to see the list.
        self.version.fetch_add(1, Relaxed);
        producer
    }

    /// How many items wait, in all lanes.
    pub fn waiting(&self) -> usize {
        let registered = self.registered.lock().expect("no panic under this lock");
        registered.iter().map(|lane| lane.queue.len()).sum()
    }
}

/// The raising thread's end of its lane.
#[derive(Debug)]
pub struct Producer<T> {
    lane: Arc<Lane<T>>,
    /// Room that is there for certain: only this end takes it.
    room: Cell<usize>,
}

impl<T> Producer<T> {
    fn new(lane: Arc<Lane<T>>) -> Self {
        let room = Cell::new(lane.queue.capacity() - lane.queue.len());
        Self { lane, room }
    }

    /// Hands over an item, or gives it back if the lane is full.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), T> {
        self.room.set(self.room.get().saturating_sub(1));
        self.lane.queue.push(item)
    }

    /// Takes back an item that the consumer has not taken, oldest first.
    pub fn reclaim(&self) -> Option<T> {
        self.lane.queue.pop()
    }

    /// Whether a push would succeed now. Looks at the other end only when it must.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.room.get() > 0 || self.find_room()
    }

    #[cold]
    #[inline(never)]
    fn find_room(&self) -> bool {
        let queue = &self.lane.queue;
        self.room.set(queue.capacity() - queue.len());
        self.room.get() > 0
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.lane.ended.store(true, Release); // SYNC(lane.end): after the last push
    }
}

/// The reactor's end of all lanes.
#[derive(Debug)]
pub struct Consumer<T> {
    lanes: Vec<Arc<Lane<T>>>,
    version: usize,
    /// The lane to begin with, so that a busy one cannot starve the others.
    next: usize,
}

impl<T> Default for Consumer<T> {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            version: 0,
            next: 0,
        }
    }
}

impl<T> Consumer<T> {
    /// Takes up to `limit` items from the next lane that has any, in the order pushed.
    pub fn drain(&mut self, all: &Lanes<T>, limit: usize, mut take: impl FnMut(T)) -> usize {
        self.refresh(all);
        for _ in 0..self.lanes.len() {
            if self.next >= self.lanes.len() {
                self.next = 0;
            }
            let lane = &self.lanes[self.next];
            let ended = lane.ended.load(Relaxed);
            let mut taken = 0;
            while taken < limit {
                let Some(item) = lane.queue.pop() else { break };
                take(item);
                taken += 1;
            }
            if !(ended && taken < limit && self.let_go(all, self.next)) {
                self.next += 1;
            }
            if taken > 0 {
                return taken;
            }
        }
        0
    }

    /// Whether there is nothing to drain. Called after a nap was announced.
    pub fn is_idle(&self, all: &Lanes<T>) -> bool {
        all.version.load(Relaxed) == self.version
            && self.lanes.iter().all(|lane| lane.queue.is_empty())
    }

    fn refresh(&mut self, all: &Lanes<T>) {
        if all.version.load(Relaxed) == self.version {
            return;
        }
        let registered = all.registered.lock().expect("no panic under this lock");
        self.version = all.version.load(Relaxed);
        self.lanes.clone_from(&registered);
    }

    /// Lets go of an ended lane, unless another thread has taken it over; says whether it did.
    fn let_go(&mut self, all: &Lanes<T>, index: usize) -> bool {
        let mut registered = all.registered.lock().expect("no panic under this lock");
        let lane = &self.lanes[index];
        // SYNC(lane.end): the flag before the queue.
        if !lane.ended.load(Acquire) || !lane.queue.is_empty() {
            return false;
        }
        registered.retain(|other| !Arc::ptr_eq(other, lane));
        drop(registered);
        self.lanes.swap_remove(index);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drain_all(consumer: &mut Consumer<u32>, all: &Lanes<u32>) -> Vec<u32> {
        let mut items = Vec::new();
        while consumer.drain(all, 3, |item| items.push(item)) > 0 {}
        items
    }

    #[test]
    fn full_lane_gives_the_item_back() {
        let all = Lanes::new(2);
        let producer = all.register();
        assert_eq!(producer.push(1), Ok(()));
        assert_eq!(producer.push(2), Ok(()));
        assert_eq!(producer.push(3), Err(3));
        assert!(!producer.has_room());
        assert_eq!(drain_all(&mut Consumer::default(), &all), [1, 2]);
    }

    #[test]
    fn a_lane_keeps_its_order_and_outlives_its_producer() {
        let all = Lanes::new(8);
        let mut consumer = Consumer::default();
        let first = all.register();
        let second = all.register();
        for item in 0..4 {
            first.push(item).unwrap();
            second.push(10 + item).unwrap();
        }
        drop(first);
        let items = drain_all(&mut consumer, &all);
        let (small, large): (Vec<u32>, Vec<u32>) = items.iter().partition(|&&item| item < 10);
        assert_eq!(small, [0, 1, 2, 3]);
        assert_eq!(large, [10, 11, 12, 13]);
        assert_eq!(
            all.registered.lock().unwrap().len(),
            1,
            "the ended lane was let go"
        );
        assert!(consumer.is_idle(&all));
        second.push(1).unwrap();
        assert!(!consumer.is_idle(&all));
    }

    #[test]
    fn an_ended_lane_is_taken_over_with_what_lies_in_it() {
        let all = Lanes::new(4);
        let mut consumer = Consumer::default();
        for item in 0..3 {
            all.register().push(item).unwrap();
        }
        assert_eq!(all.registered.lock().unwrap().len(), 1);
        let living = all.register();
        living.push(3).unwrap();
        assert_eq!(living.push(9), Err(9), "the lane is full");
        let other = all.register();
        other.push(4).unwrap();
        assert_eq!(all.registered.lock().unwrap().len(), 2);
        let mut items = drain_all(&mut consumer, &all);
        items.retain(|&item| item != 4);
        assert_eq!(items, [0, 1, 2, 3]);
        living.push(5).unwrap();
        drop((living, other));
        assert_eq!(drain_all(&mut consumer, &all), [5]);
        assert!(all.registered.lock().unwrap().is_empty());
        all.register().push(6).unwrap();
        assert!(!consumer.is_idle(&all));
        assert_eq!(drain_all(&mut consumer, &all), [6]);
    }

    #[test]
    fn the_emptiest_of_the_ended_lanes_is_taken_over() {
        let all = Lanes::new(4);
        let lanes = [3, 1, 2].map(|count| {
            let lane = all.register();
            (0..count).for_each(|item| lane.push(item).unwrap());
            lane
        });
        drop(lanes);
        let lane = all.register();
        assert_eq!(lane.lane.queue.len(), 1);
    }

    #[test]
    fn a_busy_lane_does_not_starve_another() {
        let all = Lanes::new(8);
        let mut consumer = Consumer::default();
        let (busy, quiet) = (all.register(), all.register());
        for _ in 0..8 {
            busy.push(1).unwrap();
        }
        quiet.push(2).unwrap();
        let mut items = Vec::new();
        consumer.drain(&all, 4, |item| items.push(item));
        consumer.drain(&all, 4, |item| items.push(item));
        assert!(
            items.contains(&2),
            "two turns look at both lanes: {items:?}"
        );
    }

    #[test]
    fn a_new_lane_is_not_idle_even_before_it_was_seen() {
        let all = Lanes::new(2);
        let consumer = Consumer::<u32>::default();
        assert!(consumer.is_idle(&all));
        let _producer = all.register();
        assert!(!consumer.is_idle(&all));
    }
}
