//! What a raising thread asks of the kernel: nothing but the wake of a sleeping reactor.

mod support;

use std::hint::spin_loop;
use std::process::Command;
use std::thread;
use std::time::Duration;

use bellwire::Event;
use bellwire::Expire;
use bellwire::Raised;
use rustix::process::getppid;
use rustix::thread::gettid;
use support::TempDir;
use support::child;
use support::child::Child;
use support::engine::*;
use support::receiver::Udp;
use support::receiver::Unix;

/// What the raising thread asks for before and after the raises that count.
const MARK: &str = "getppid()";

/// Raises single events that find the reactor asleep, and bursts that find it at work. What is
/// full is dropped, which asks for nothing either.
fn raise_for_a_while(event: &Event, unheard: &Event, rounds: u64) -> u64 {
    let mut queued = 0;
    for n in 0..rounds {
        let burst = if n % 10 == 0 { 100 } else { 1 };
        for _ in 0..burst {
            let raised = event.raise(|p| {
                p.uint("n", n).str("ip", "192.168.2.11").float("f", 0.5);
            });
            queued += u64::from(raised == Raised::Queued);
            assert_eq!(unheard.raise(|_| ()), Raised::Unheard);
        }
        // Time for the reactor to go to sleep, now and then also for one that a tracer slows down;
        // asking a clock could be a system call.
        let pause = if n % 100 == 99 { 500_000 } else { 3000 };
        for _ in 0..pause {
            spin_loop();
        }
    }
    queued
}

/// Raises until the lane was full, with payloads several times as long as those that count: so
/// the arena has more blocks than they can ever hold at one time, however they come to lie.
fn warm_up(event: &Event, unheard: &Event) {
    raise_for_a_while(event, unheard, 100);
    let long = "x".repeat(500);
    let raise = || {
        event.raise(|p| {
            p.uint("n", u64::MAX).str("ip", &long).float("f", 0.5);
        })
    };
    let is_full = (0..1_000_000).any(|_| raise() != Raised::Queued);
    assert!(is_full, "the lane was never full");
    raise_for_a_while(event, unheard, 200);
}

/// Runs `act` with a heard and an unheard event. The receivers are not read: one loses what is
/// too much, one makes the reactor keep it, though not so much that the arena's blocks are used up.
fn with_events(act: impl FnOnce(&Event, &Event)) {
    let dir = TempDir::new();
    let (udp, unix) = (Udp::new(), Unix::at(&dir.file("e.sock")));
    let config = config(|config| {
        config.lane_events = 1024;
        config.unix_backlog = 16;
        config.unix_wait = Duration::from_secs(600);
    });
    let (engine, event) = engine_with("E_X", config);
    let unheard = engine.declare("E_Y").unwrap();
    for socket in [udp.socket(), unix.socket()] {
        engine.subscribe("E_X", &socket, Expire::Never).unwrap();
    }
    act(&event, &unheard);
    let in_lanes = || engine.stats().in_lanes == 0;
    support::eventually("the lane to be empty", in_lanes);
}

/// Not a test of its own: the process that is traced.
#[test]
fn raiser() {
    if child::argument().is_none() {
        return;
    }
    with_events(|event, unheard| {
        warm_up(event, unheard);
        child::tell(&gettid().as_raw_nonzero().to_string());
        std::hint::black_box(getppid());
        // The reactor may stand still for longer than a thousand rounds take.
        let mut queued = 0;
        for _ in 0..100 {
            queued += raise_for_a_while(event, unheard, 1000);
            if queued > 5000 {
                break;
            }
        }
        std::hint::black_box(getppid());
        assert!(queued > 1000, "only {queued} were queued");
    });
}

#[test]
fn a_raising_thread_makes_no_system_call_but_the_wake() {
    let traces = Command::new("strace").args(["-qq", "true"]).output();
    let traces = traces.expect("strace is there: ./test installs it");
    if !traces.status.success() {
        return eprintln!("tracing is forbidden here: nothing was tested");
    }
    let dir = TempDir::new();
    let files = dir.file("trace");
    let files = files.to_str().unwrap();
    let strace = ["strace", "-ff", "-qq", "-o", files];
    let mut child = Child::start_under(&strace, "raiser", "yes");
    let thread = child.hear();
    child.finish();

    let trace = |thread: &str| std::fs::read_to_string(format!("{files}.{thread}")).unwrap();
    let of_raiser = trace(&thread);
    let parts: Vec<&str> = of_raiser.split(MARK).collect();
    assert_eq!(parts.len(), 3, "two marks:\n{of_raiser}");
    // The rest of the line of the first mark comes first.
    let calls = Vec::from_iter(parts[1].lines().skip(1).filter(|line| !line.is_empty()));

    let threads: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .extension()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let all: Vec<String> = threads.iter().map(|thread| trace(thread)).collect();
    let eventfd = all
        .iter()
        .flat_map(|trace| trace.lines())
        .find_map(|line| line.strip_prefix("eventfd2(")?.split_once(" = "))
        .map(|(_, number)| number.to_owned())
        .expect("the reactor's eventfd");
    let wake = format!(r#"write({eventfd}, "\1\0\0\0\0\0\0\0", 8)"#);
    let others = calls.iter().filter(|call| !call.starts_with(&wake));
    let others = Vec::from_iter(others);
    assert!(
        others.is_empty(),
        "{} calls, such as {:#?}",
        others.len(),
        &others[..1]
    );

    let naps = all
        .iter()
        .flat_map(|trace| trace.lines())
        .filter(|line| line.starts_with("epoll_wait("))
        .count();
    assert!(!calls.is_empty(), "no raise found the reactor asleep");
    assert!(calls.len() <= naps, "{} wakes of {naps} naps", calls.len());
}

/// Without a tracer in between: how often the thread gave up the processor by itself.
#[test]
fn a_raising_thread_never_waits() {
    let raiser = || {
        with_events(|event, unheard| {
            warm_up(event, unheard);
            let status = format!("/proc/self/task/{}/status", gettid().as_raw_nonzero());
            let waits = || {
                let status = std::fs::read_to_string(&status).unwrap();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                line.unwrap().trim().parse::<u64>().unwrap()
            };
            let before = waits();
            raise_for_a_while(event, unheard, 5000);
            let waited = waits() - before;
            // A page that is touched first may be waited for; a lock or a full socket would be
            // met thousands of times.
            assert!(waited <= 50, "waited {waited} times in 50,000 raises");
        });
    };
    thread::spawn(raiser).join().unwrap();
}
