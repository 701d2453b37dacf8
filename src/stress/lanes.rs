//! Lanes, parker and arena together, as the raise path uses them: nothing is lost, doubled or
//! swapped, no payload changes under its reader, and the consumer sleeps and is woken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Numbers, operations};
use crate::arena::Arena;
use crate::lane::{Consumer, Lanes, Producer};
use crate::parker::{Notified, Parker, Wake};

/// Threads that push at one time.
const RAISERS: u64 = 3;
/// Items a thread pushes before it ends and another begins.
const LIFE: u64 = 10_000;
const LANE: usize = 64;
/// A sleeper that is not woken this long was forgotten.
const LOST: Duration = Duration::from_secs(60);

/// An eventfd.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    rings: AtomicU64,
}

impl Bell {
    fn sleep(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, time) = self
            .changed
            .wait_timeout_while(rung, LOST, |rung| !*rung)
            .unwrap();
        assert!(!time.timed_out(), "a wake-up was lost");
        *rung = false;
    }
}

impl Wake for Arc<Bell> {
    fn wake(&self) {
        self.rings.fetch_add(1, Relaxed);
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Which raiser sent it, and its number there.
struct Item {
    raiser: usize,
    number: u64,
    payload: Bytes,
}

/// As long as the raiser's lane, and all of it the same byte, which follows from the number.
fn fill(block: &mut [u8], number: u64) -> usize {
    let length = 16 + (number % 700) as usize;
    block[..length].fill(number as u8);
    length
}

fn check(item: &Item) {
    let (byte, length) = (item.number as u8, 16 + (item.number % 700) as usize);
    assert_eq!(item.payload.len(), length);
    assert!(
        item.payload.iter().all(|&own| own == byte),
        "a payload changed"
    );
}

/// What was taken, by the threads that raised it: each is heard in order. A thread that takes over
/// another's lane may overtake what its predecessor left in its own.
#[derive(Default)]
struct Seen(BTreeMap<(usize, u64), u64>);

impl Seen {
    fn note(&mut self, item: &Item) {
        let thread = (item.raiser, item.number / LIFE);
        let next = self.0.entry(thread).or_default();
        assert_eq!(item.number % LIFE, *next, "of {thread:?}");
        *next += 1;
    }

    /// Each raiser was heard to its end.
    fn check(&self, items: u64) {
        assert_eq!(self.0.len() as u64, RAISERS * (items / LIFE));
        assert!(self.0.values().all(|&heard| heard == LIFE));
    }
}

struct World {
    lanes: Lanes<Item>,
    parker: Parker<Arc<Bell>>,
    running: AtomicUsize,
}

/// Pushes `LIFE` items from `first` on; retries while the lane is full.
fn raise(world: &World, raiser: usize, first: u64) {
    let lane: Producer<Item> = world.lanes.register();
    let mut arena = Arena::default();
    for number in first..first + LIFE {
        let payload = arena.write(|block| fill(block, number));
        let mut item = Item {
            raiser,
            number,
            payload,
        };
        while let Err(back) = lane.push(item) {
            item = back;
            thread::yield_now();
        }
        assert_eq!(world.parker.notify(), Notified::Open);
    }
}

/// Threads that follow each other, each with a lane of its own or its predecessor's.
fn generations(world: &World, raiser: usize, items: u64) {
    for first in (0..items).step_by(LIFE as usize) {
        thread::scope(|scope| {
            scope.spawn(|| raise(world, raiser, first));
        });
    }
    world.running.fetch_sub(1, Relaxed);
    world.parker.notify();
}

/// Takes everything; says how many naps it took.
fn consume(world: &World, bell: &Bell, items: u64) -> u64 {
    let mut numbers = Numbers(9);
    let mut consumer = Consumer::default();
    let (mut seen, mut held, mut naps) = (Seen::default(), Vec::new(), 0);
    loop {
        let taken = consumer.drain(&world.lanes, 16, |item| held.push(item));
        if held.len() > 200 || numbers.one_in(8) {
            for item in held.drain(..) {
                check(&item);
                seen.note(&item);
            }
        }
        if taken > 0 {
            continue;
        }
        // Before the last look: what is pushed after it comes from somebody who runs.
        let running = world.running.load(Relaxed);
        let nap = world.parker.prepare();
        if !consumer.is_idle(&world.lanes) {
            continue;
        }
        if running == 0 && held.is_empty() {
            break;
        }
        if running > 0 {
            naps += 1;
            bell.sleep();
        }
        drop(nap);
    }
    seen.check(items);
    naps
}

#[test]
fn nothing_is_lost_between_raisers_and_consumer() {
    let items = (operations(1_000_000) / RAISERS).next_multiple_of(LIFE);
    let bell = Arc::new(Bell::default());
    let world = World {
        lanes: Lanes::new(LANE),
        parker: Parker::new(Arc::clone(&bell)),
        running: AtomicUsize::new(RAISERS as usize),
    };
    let naps = thread::scope(|scope| {
        for raiser in 0..RAISERS as usize {
            let world = &world;
            scope.spawn(move || generations(world, raiser, items));
        }
        consume(&world, &bell, items)
    });
    let rings = bell.rings.load(Relaxed);
    assert!(rings >= naps, "{rings} rings ended {naps} naps");
    assert_eq!(world.lanes.waiting(), 0);
}
