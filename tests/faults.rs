//! Faults of the world: stopped processes, no file descriptors, storms of signals.

mod support;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::Raised;
use bellwire::Reason;
use rustix::process::Resource;
use rustix::process::Signal;
use support::TempDir;
use support::child;
use support::child::Child;
use support::engine::*;
use support::eventually;
use support::receiver::Receive;
use support::receiver::Udp;
use support::receiver::Unix;
use support::receiver::unix;

/// Not a test of its own: a process with a receiver of each kind. Counts what it gets of the
/// UNIX ones until one says that it is the last.
#[test]
fn reader() {
    let Some(path) = child::argument() else {
        return;
    };
    let (udp, unix) = (Udp::new(), Unix::at(Path::new(&path)));
    child::tell(&udp.socket());
    let mut numbers = Vec::new();
    while numbers.last() != Some(&u64::MAX) {
        numbers.push(number(&unix.next()));
    }
    numbers.pop();
    assert!(numbers.is_sorted());
    child::tell(&numbers.len().to_string());
}

/// One process of 64 stops, with its UDP and its UNIX receiver: the other 63 of each get every
/// event, and when it goes on it gets what the bounds kept for it.
#[test]
fn a_stopped_process_costs_the_others_nothing() {
    const OTHERS: usize = 63;
    const BURST: u64 = 30;
    const BURSTS: u64 = 45;
    let dir = TempDir::new();
    let config = config(|config| config.unix_wait = Duration::from_secs(600));
    let backlog = config.unix_backlog as u64;
    let (engine, event) = engine_with("E_X", config);
    let path = dir.file("stopped.sock");
    let mut stopped = Child::start("reader", path.to_str().unwrap());
    let udp_of_stopped = stopped.hear();
    let udps: Vec<Udp> = (0..OTHERS).map(|_| Udp::new()).collect();
    let unixes: Vec<Unix> = (0..OTHERS)
        .map(|number| Unix::at(&dir.file(&format!("{number}.sock"))))
        .collect();
    let mut sockets = vec![udp_of_stopped, unix(&path)];
    sockets.extend(udps.iter().map(Udp::socket));
    sockets.extend(unixes.iter().map(Unix::socket));
    for socket in &sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    stopped.freeze();
    for burst in 0..BURSTS {
        let numbers = Vec::from_iter(burst * BURST..(burst + 1) * BURST);
        raise_all(&event, numbers.iter().copied());
        for receiver in &unixes {
            assert_eq!(receiver.numbers(BURST as usize), numbers);
        }
        for receiver in &udps {
            assert_eq!(receiver.numbers(BURST as usize), numbers);
        }
    }
    let raised = BURST * BURSTS;
    let full = support::wait_for("as many to wait as the bound allows", || {
        let stats = engine.stats();
        // What a receiver has read is counted as delivered a moment later.
        (stats.fanned_out == raised && stats.in_flight == backlog).then_some(stats)
    });
    assert_eq!(full.matched, raised * 2 * (OTHERS as u64 + 1));
    let too_many = full.dropped.of(Reason::QueueFull);
    assert_eq!(full.dropped.total(), too_many);
    checked(&engine);

    stopped.signal(Signal::CONT);
    eventually("the backlog to be read", || engine.stats().in_flight == 0);
    raise(&event, u64::MAX);
    assert_eq!(stopped.hear(), (raised - too_many).to_string());
    let stats = settled(&engine);
    assert_eq!(
        stats.delivered + too_many,
        (raised + 1) * 2 * (OTHERS as u64 + 1)
    );
}

/// How many this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Not a test of its own: a process in which file descriptors run out.
#[test]
fn without_descriptors() {
    let Some(directory) = child::argument() else {
        return;
    };
    let file = |number: usize| Path::new(&directory).join(format!("{number}.sock"));
    let udp = Udp::new();
    let receivers: Vec<Unix> = (0..8).map(|number| Unix::at(&file(number))).collect();
    let (engine, event) = engine_with("E_X", Config::default());
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    raise(&event, 0);
    assert_eq!(udp.numbers(1), [0]);

    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = Some(64);
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    let at_rest = descriptors();
    for _ in 0..3 {
        let mut hogs = Vec::new();
        hogs.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        assert!(
            Engine::start(Config::default()).is_err(),
            "there is nothing to start with"
        );

        for receiver in &receivers {
            engine
                .subscribe("E_X", &receiver.socket(), Expire::Never)
                .unwrap();
        }
        // A run, which would have a socket of its own.
        raise_all(&event, 0..100);
        assert_eq!(udp.numbers(100), Vec::from_iter(0..100));
        let before = settled(&engine).delivered;
        let emfile = rustix::io::Errno::MFILE.raw_os_error();
        for entry in &engine.subscriptions(Some("E_X"))[..8] {
            assert_eq!(entry.dropped.of(Reason::Other), 100);
            assert_eq!((entry.delivered, entry.last_errno), (0, Some(emfile)));
        }

        drop(hogs);
        eventually("all to be reached again", || {
            raise(&event, 0);
            udp.numbers(1);
            settled(&engine);
            receivers
                .iter()
                .all(|receiver| !receiver.waiting().is_empty())
        });
        assert!(engine.stats().delivered >= before + 9);
        for receiver in &receivers {
            assert!(engine.unsubscribe("E_X", &receiver.socket()).unwrap());
            receiver.waiting();
        }
        eventually("their sockets to be closed", || descriptors() == at_rest);
    }
    child::tell("well");
}

#[test]
fn running_out_of_descriptors_is_counted_and_passes() {
    let dir = TempDir::new();
    let mut child = Child::start("without_descriptors", dir.path().to_str().unwrap());
    assert_eq!(child.hear(), "well");
    child.finish();
}

/// Not a test of its own: a process that raises while signals rain on it.
#[test]
fn in_the_storm() {
    let Some(directory) = child::argument() else {
        return;
    };
    let caught = Arc::new(AtomicUsize::new(0));
    signal_hook::flag::register_usize(signal_hook::consts::SIGUSR1, Arc::clone(&caught), 1)
        .unwrap();
    let config = config(|config| config.unix_backlog = 100_000);
    let (engine, event) = engine_with("E_X", config);
    let (udp, unix) = (Udp::new(), Unix::at(&Path::new(&directory).join("e.sock")));
    engine
        .subscribe("E_X", &udp.socket(), Expire::Never)
        .unwrap();
    engine
        .subscribe("E_X", &unix.socket(), Expire::Never)
        .unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    engine
        .on("E_X", move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
    child::tell("ready");
    assert_eq!(child::hear().unwrap(), "go");
    let mut numbers = 0..;
    for burst in 0..300 {
        // Single events wake the reactor, bursts keep it busy.
        let count = [1, 40][burst % 2];
        let numbers = Vec::from_iter(numbers.by_ref().take(count));
        for &n in &numbers {
            let raised = event.raise(|p| {
                p.uint("n", n);
            });
            assert_eq!(raised, Raised::Queued);
        }
        assert_eq!(udp.numbers(count), numbers);
        assert_eq!(unix.numbers(count), numbers);
    }
    let stats = settled(&engine);
    assert_eq!(stats.raised, 150 * 41);
    assert_eq!(
        (stats.delivered, stats.dropped.total()),
        (3 * stats.raised, 0)
    );
    let handled = handled.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(handled as u64, stats.raised);
    assert_eq!(caught.load(std::sync::atomic::Ordering::Relaxed), 1);
    engine.shutdown(Duration::from_secs(10));
    child::tell("well");
}

#[test]
fn a_storm_of_signals_costs_no_event() {
    let dir = TempDir::new();
    let mut child = Child::start("in_the_storm", dir.path().to_str().unwrap());
    assert_eq!(child.hear(), "ready");
    child.signal(Signal::USR1);
    child.tell("go");
    let stop = Stop::default();
    let target = child.target();
    thread::scope(|scope| {
        let stopping = stop.on_drop();
        scope.spawn(|| {
            let mut storm = 0_u64;
            while !stop.is_set() {
                // A stop and its end interrupt what a handler does not: epoll_wait among them.
                let signals = match storm % 50 {
                    0 => [Signal::STOP, Signal::CONT],
                    _ => [Signal::USR1; 2],
                };
                signals.into_iter().for_each(|signal| target.signal(signal));
                storm += 1;
                thread::yield_now();
            }
        });
        assert_eq!(child.hear(), "well");
        drop(stopping);
    });
    child.finish();
}
