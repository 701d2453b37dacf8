//! The same for streams: the engine's core with `tcp:` sockets and groups over them, on
//! connections that are made late or never, take what they like, break where they like, and on
//! whose other side somebody replies well, badly, late or not at all.
//!
//! It has another network (`testing::network`), as a stream is another thing than a datagram: what
//! is checked is that each text arrives whole, once on a connection and in order, that every event
//! of every subscription has one outcome, that nothing counts as delivered that the other side did
//! not get, and that all goes through when all is well again.
//!
//! `BELLWIRE_SEED=17 cargo test streams -- --nocapture` runs one seed.
//!
//! | module | noun |
//! |---|---|
//! | `subs` | the subscriptions |
//! | `actions` | what happens around the engine |
//! | `lull` | all is well; the shutdown |
//! | `checks` | the invariants |

mod actions;
mod checks;
mod lull;
mod subs;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::random::Random;
use crate::engine::core::Core;
use crate::engine::raise::Event;
use crate::engine::shared::{Alarm, Clock, Shared};
use crate::engine::{Config, Handle};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use crate::testing::network::World;
use subs::{Place, Sub, sub};

const STEPS: usize = 1200;
const EVENTS: usize = 3;
const HOSTS: usize = 4;
const SUBSCRIPTIONS: usize = 10;

struct Simulation {
    random: Random,
    handle: Handle,
    core: Core,
    world: World,
    events: Vec<Event>,
    subs: Vec<Sub>,
    now_ms: Arc<AtomicU64>,
    raised: u64,
    /// The texts that came whole, by place: number and connection.
    came: BTreeMap<Place, Vec<(u64, usize)>>,
    /// The id of each request, and those that were accepted.
    ids: HashMap<(Place, u64), u64>,
    accepted: HashSet<(Place, u64)>,
    /// What was answered in a lull, on which connection.
    answered: HashSet<(Place, u64, usize)>,
    /// Whether the queues take what all subscriptions get at once.
    is_roomy: bool,
    printed: bool,
}

impl Simulation {
    fn new(seed: u64, printed: bool) -> Self {
        let mut random = Random::new(seed);
        let millis = |random: &mut Random, low, high| {
            Duration::from_millis(random.between(low, high) as u64)
        };
        let mut config = Config::default();
        config.tcp.queue_events = random.pick(&[1, 5, 50, 1000]);
        config.tcp.queue_bytes = random.pick(&[300, 3000, 1 << 20]);
        config.tcp.queue_time = millis(&mut random, 500, 4000);
        config.tcp.reply_time = millis(&mut random, 50, 1500);
        config.tcp.stall_time = millis(&mut random, 50, 1500);
        config.tcp.retry_time = millis(&mut random, 1, 1000);
        config.failover_hold = millis(&mut random, 100, 2000);
        config.unix_wait = millis(&mut random, 10, 2000);
        config.unix_backlog = random.pick(&[1, 16, 1000]);
        let is_roomy = config.tcp.queue_events >= 50
            && config.tcp.queue_bytes >= 1 << 20
            && config.unix_backlog >= 16;
        let now_ms: Arc<AtomicU64> = Arc::default();
        let clock = Clock::told(Arc::clone(&now_ms));
        let mut shared = Shared::new(
            config,
            Alarm::Counter(Arc::default()),
            clock,
            Arc::new(|_, _| {}),
        );
        // Of the pauses between attempts; by itself it is another in each run.
        shared.transports.settings.seed = seed;
        let shared = Arc::new(shared);
        let subs: Vec<Sub> = (0..SUBSCRIPTIONS)
            .map(|number| sub(&mut random, number))
            .collect();
        let world = World::new(HOSTS, SUBSCRIPTIONS);
        let core = Core::new(Arc::clone(&shared), &world).expect("a UDP socket");
        let handle = Handle { shared };
        let declare = |event: usize| handle.declare(&format!("E_{event}")).expect("a name");
        Self {
            events: (0..EVENTS).map(declare).collect(),
            random,
            core,
            world,
            subs,
            handle,
            now_ms,
            raised: 0,
            came: BTreeMap::new(),
            ids: HashMap::new(),
            accepted: HashSet::new(),
            answered: HashSet::new(),
            is_roomy,
            printed,
        }
    }

    fn note(&self, words: std::fmt::Arguments<'_>) {
        if self.printed {
            println!("{:>7} ms  {words}", self.now_ms.load(Relaxed));
        }
    }
}

/// Runs one seed; gives how many were delivered, dropped, and sent again.
fn run(seed: u64, printed: bool) -> [u64; 4] {
    let mut simulation = Simulation::new(seed, printed);
    for step in 0..STEPS {
        simulation.step();
        if step % 400 == 399 {
            simulation.check_all();
            simulation.lull();
        }
    }
    let again: usize = simulation
        .came
        .values()
        .map(|came| came.len() - came.iter().map(|(n, _)| n).collect::<HashSet<_>>().len())
        .sum();
    for _ in 0..5 {
        (0..EVENTS).for_each(|event| simulation.raise(event));
        simulation.turn();
    }
    simulation.shut_down();
    let calls = simulation.world.net().calls;
    assert!(
        calls < 200 * STEPS as u64 * SUBSCRIPTIONS as u64,
        "{calls} calls"
    );
    let stats = simulation.handle.stats();
    let moved: u64 = simulation
        .subs
        .iter()
        .filter(|sub| sub.is_there && sub.is_exclusive && sub.is_group)
        .filter_map(|sub| {
            simulation
                .handle
                .subscription(&format!("E_{}", sub.event), &sub.socket)
        })
        .flat_map(|listed| listed.members)
        .skip(1)
        .map(|member| member.delivered)
        .sum();
    [stats.delivered, stats.dropped.total(), again as u64, moved]
}

#[test]
fn streams_and_groups_over_them_keep_their_promises() {
    if let Ok(seed) = std::env::var("BELLWIRE_SEED") {
        println!("{:?}", run(seed.parse().expect("a number"), true));
        return;
    }
    let seeds = std::env::var("BELLWIRE_SEEDS").map_or(60, |n| n.parse().expect("a number"));
    let mut sums = [0; 4];
    for seed in 0..seeds {
        let Ok(ran) = std::panic::catch_unwind(|| run(seed, false)) else {
            panic!("failed: replay with BELLWIRE_SEED={seed}");
        };
        sums.iter_mut().zip(ran).for_each(|(sum, ran)| *sum += ran);
    }
    // A run in which nothing gets through, is lost, comes again or moves on would prove nothing.
    println!("{sums:?}");
    assert!(sums.iter().all(|sum| *sum > 10 * seeds), "{sums:?}");
}
