//! What a raising thread allocates: nothing, once it has raised for a while.
//!
//! The counting allocator counts by thread: only what the raising thread does is counted here.

mod support;

use std::time::Duration;

use allocation_counter::measure;
use bellwire::Config;
use bellwire::Engine;
use bellwire::Event;
use bellwire::Expire;
use bellwire::Params;
use bellwire::Raised;
use bellwire::Reason;
use support::TempDir;
use support::engine::*;
use support::eventually;
use support::receiver::Udp;
use support::receiver::Unix;

/// Raises until the lane was full, with payloads longer than most that count: so the arena has all
/// the blocks it will need, however long the reactor stands still.
fn fill(event: &Event) {
    let long = "x".repeat(1000);
    let raise = || {
        event.raise(|p| {
            p.str("v", &long);
        })
    };
    let is_full = (0..1_000_000).any(|_| raise() == Raised::Dropped(Reason::LaneFull));
    assert!(is_full, "the lane was never full");
}

/// Raises in portions that the reactor takes before the next: a steady state. The first portions
/// are larger, so that the arena has all the blocks it will need. Gives how often the raising
/// thread allocated in the last `count` raises.
fn allocations(engine: &Engine, count: u64, mut raise: impl FnMut(u64)) -> u64 {
    let mut portion = |count| {
        let counted = measure(|| (0..count).for_each(&mut raise)).count_total;
        eventually("the lane to be empty", || {
            let stats = engine.stats();
            stats.raised == stats.fanned_out + stats.dropped_before.total()
        });
        counted
    };
    portion(0);
    for _ in 0..20 {
        portion(1000);
    }
    (0..count.div_ceil(200)).map(|_| portion(200)).sum()
}

fn everything(p: &mut Params<'_>) {
    p.str("ip", "192.168.2.11")
        .str("escaped", "a\"b\\c\n\u{1}é")
        .bytes("bytes", b"\xff\xfe ok")
        .int("int", i64::MIN)
        .uint("uint", u64::MAX)
        .float("float", 0.1)
        .bool("bool", true)
        .null("null");
}

fn heard() -> (Engine, Event, Udp) {
    let receiver = Udp::new();
    let (engine, event) = engine_with("E_X", Config::default());
    let socket = receiver.socket();
    engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    (engine, event, receiver)
}

#[test]
fn an_unheard_raise_allocates_nothing_even_the_first_time() {
    let (_engine, event) = engine_with("E_X", Config::default());
    let counted = measure(|| {
        for _ in 0..10_000 {
            assert_eq!(event.raise(|_| panic!("nobody listens")), Raised::Unheard);
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_heard_raise_allocates_nothing() {
    let (engine, event, _receiver) = heard();
    fill(&event);
    let counted = allocations(&engine, 50_000, |_| {
        assert_eq!(event.raise(everything), Raised::Queued);
    });
    assert_eq!(counted, 0);
}

#[test]
fn events_of_many_kinds_and_sizes_allocate_nothing() {
    let (receiver, dir) = (Udp::new(), TempDir::new());
    let unix = Unix::at(&dir.file("e.sock"));
    // It is not read, and what waits for it keeps its block of the arena.
    let config = config(|config| {
        config.unix_backlog = 16;
        config.unix_wait = Duration::from_secs(600);
    });
    let (engine, _) = engine_with("E_X", config);
    let filler = "x".repeat(40_000);
    let events: Vec<Event> = (0..50)
        .map(|number| {
            let name = format!("E_{number}");
            let event = engine.declare(&name).unwrap();
            for socket in [receiver.socket(), unix.socket()] {
                engine.subscribe(&name, &socket, Expire::Never).unwrap();
            }
            event
        })
        .collect();
    fill(&events[0]);
    let counted = allocations(&engine, 20_000, |n| {
        let length = n as usize * 37 % if n % 100 == 0 { 3000 } else { 300 };
        events[n as usize % 50].raise(|p| {
            p.str("v", &filler[..length]);
        });
    });
    assert_eq!(counted, 0);
}

#[test]
fn nested_raises_allocate_nothing() {
    let (engine, event, _receiver) = heard();
    fill(&event);
    let counted = allocations(&engine, 20_000, |n| {
        event.raise(|p| {
            raise(&event, n);
            everything(p);
            raise(&event, n);
        });
    });
    assert_eq!(counted, 0);
}

#[test]
fn after_nested_and_panicking_raises_nothing_is_allocated_again() {
    let (engine, event, _receiver) = heard();
    std::panic::set_hook(Box::new(|_| ()));
    for n in 0..100 {
        event.raise(|_| raise(&event, n));
        let torn = std::panic::AssertUnwindSafe(|| event.raise(|_| panic!()));
        std::panic::catch_unwind(torn).unwrap_err();
    }
    drop(std::panic::take_hook());
    fill(&event);
    let counted = allocations(&engine, 20_000, |n| raise(&event, n));
    assert_eq!(counted, 0);
}

#[test]
fn dropped_raises_allocate_nothing() {
    let config = config(|config| config.lane_events = 4);
    let (engine, event) = engine_with("E_X", config);
    // Enough work for each event that the lane is full nearly always.
    for port in 1..300 {
        let socket = format!("udp:127.0.0.1:{port}?format=text");
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    let mut full = 0;
    let counted = allocations(&engine, 5_000, |_| {
        full += u64::from(event.raise(everything) == Raised::Dropped(Reason::LaneFull));
    });
    assert!(full > 5_000, "only {full}");
    assert_eq!(counted, 0);

    engine.shutdown(Duration::ZERO);
    let counted = measure(|| {
        for _ in 0..10_000 {
            let raised = event.raise(everything);
            assert_eq!(raised, Raised::Dropped(Reason::Shutdown));
        }
    });
    assert_eq!(counted.count_total, 0);
}

/// Each declaration publishes a new list of the events; the old ones must go.
#[test]
fn declaring_keeps_no_old_lists() {
    let engine = Engine::start(Config::default()).unwrap();
    let counted = measure(|| {
        for number in 0..bellwire::limits::EVENTS {
            engine.declare(&format!("E_{number}")).unwrap();
        }
    });
    let each = counted.bytes_current / bellwire::limits::EVENTS as i64;
    assert!(each < 4096, "{each} bytes an event");
    assert!(engine.declare("E_0").is_ok());
    assert!(engine.declare("E_ONE_MORE").is_err());
}
