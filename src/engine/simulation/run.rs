//! One seeded run: the engine without its threads, on a simulated network and clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::FAULTS;
use super::oracle::{EVENTS, Oracle};
use super::random::Random;
use super::trace::Trace;
use super::world::World;
use crate::engine::core::Core;
use crate::engine::raise::Event;
use crate::engine::shared::{Alarm, Clock, Shared};
use crate::engine::{Config, Handle};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Actions and turns of one run.
pub(super) const STEPS: usize = 2000;

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) hash: u64,
    pub(super) raised: u64,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) struck: [u64; FAULTS.len()],
    /// Turns, naps of the reactor, and times that everything was well again.
    pub(super) turns: u64,
    pub(super) naps: u64,
    pub(super) lulls: u64,
}

/// The engine, what is around it, and what should be.
#[derive(Debug)]
pub(super) struct Simulation {
    pub(super) random: Random,
    pub(super) trace: Trace,
    pub(super) handle: Handle,
    pub(super) events: Vec<Event>,
    pub(super) core: Core,
    pub(super) world: World,
    pub(super) oracle: Oracle,
    pub(super) lane_events: usize,
    pub(super) unix_wait: Duration,
    pub(super) unix_backlog: usize,
    /// Whether no UNIX receiver ever subscribes: then each drop by the kernel can be explained.
    pub(super) udp_only: bool,
    now_ms: Arc<AtomicU64>,
    /// How often the reactor was woken.
    wakes: Arc<AtomicU64>,
    /// When the control thread wakes by itself.
    pub(super) control_at: Option<u64>,
    pub(super) steps: usize,
    pub(super) steps_max: usize,
    pub(super) raisers: u32,
    pub(super) turns: u64,
    pub(super) naps: u64,
    pub(super) lulls: u64,
}

/// Runs one seed; panics where something is not as it should be.
#[cfg(test)]
pub(super) fn run(seed: u64, printed: bool) -> Report {
    run_by(Random::new(seed), STEPS, printed)
}

/// A short run in which the bytes choose what happens, for a fuzzer.
pub(crate) fn steered(bytes: &[u8]) {
    run_by(Random::steered(bytes), 200, false);
}

fn run_by(mut random: Random, steps: usize, printed: bool) -> Report {
    let world = World::new(&mut random);
    let config = Config {
        lane_events: random.pick(&[1, 7, 64, 200]),
        subscriptions: random.pick(&[0, 3, 20, 40, 1000]),
        unix_wait: Duration::from_millis(random.pick(&[1, 100, 5000])),
        unix_backlog: random.pick(&[0, 1, 16, 1000]),
        ..Config::default()
    };
    let Some(mut simulation) = Simulation::new(random, world, config, printed) else {
        return Report::nothing();
    };
    simulation.steps_max = steps;
    while simulation.steps < steps {
        simulation.turn_or_nap();
        if simulation.random.one_in(150) {
            simulation.lull();
        }
    }
    simulation.shut_down();
    simulation.report()
}

impl Report {
    /// Of an engine that did not start.
    fn nothing() -> Self {
        Self {
            hash: 0,
            raised: 0,
            delivered: 0,
            dropped: 0,
            struck: [0; FAULTS.len()],
            turns: 0,
            naps: 0,
            lulls: 0,
        }
    }
}

impl Simulation {
    /// An engine that just started, or none if the system has no UDP at all.
    pub(super) fn new(
        mut random: Random,
        world: World,
        config: Config,
        printed: bool,
    ) -> Option<Self> {
        let (now_ms, wakes) = (Arc::default(), Arc::default());
        let (lane_events, unix_wait) = (config.lane_events, config.unix_wait);
        let unix_backlog = config.unix_backlog.max(1);
        let oracle = Oracle::new(config.subscriptions);
        let alarm = Alarm::Counter(Arc::clone(&wakes));
        let clock = Clock::told(Arc::clone(&now_ms));
        let shared = Arc::new(Shared::new(config, alarm, clock, Arc::new(|_, _| {})));
        let core = Core::new(Arc::clone(&shared), &world);
        assert_eq!(core.is_ok(), world.net().families != [false, false]);
        let handle = Handle { shared };
        let events = (0..EVENTS).map(|event| {
            let name = format!("E_{event}");
            handle.declare(&name).expect("a name like this")
        });
        Some(Self {
            events: events.collect(),
            core: core.ok()?,
            trace: Trace::new(printed),
            udp_only: random.one_in(4),
            control_at: None,
            steps: 0,
            steps_max: STEPS,
            raisers: 1,
            turns: 0,
            naps: 0,
            lulls: 0,
            random,
            handle,
            world,
            oracle,
            lane_events,
            unix_wait,
            unix_backlog,
            now_ms,
            wakes,
        })
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }

    pub(super) fn now(&self) -> Instant {
        self.handle.shared.clock.now()
    }

    pub(super) fn wakes(&self) -> u64 {
        self.wakes.load(Relaxed)
    }

    /// Lets the time pass; the control thread does what is due.
    pub(super) fn pass(&mut self, millis: u64) {
        self.now_ms.store(self.now_ms() + millis, Relaxed);
        self.trace.note(&[1, millis], format_args!("+{millis} ms"));
        self.control();
    }

    fn report(&self) -> Report {
        let stats = self.handle.stats();
        Report {
            hash: self.trace.hash(),
            raised: stats.raised,
            delivered: stats.delivered,
            dropped: stats.dropped.total(),
            struck: self.world.net().struck,
            turns: self.turns,
            naps: self.naps,
            lulls: self.lulls,
        }
    }
}
