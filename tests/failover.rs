//! `virtual:FAILOVER` over a stream, an XML-RPC server and UNIX datagrams, each of which fails in
//! turn: every event reaches one that is well.
#![cfg(feature = "xmlrpc")]

mod support;

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire::{Engine, Event, Expire, MemberState, Reason};
use support::engine::*;
use support::stream::Stream;
use support::xmlrpc::{self, Server};
use support::{TempDir, eventually};

/// How long a member that failed is left alone.
const HOLD: Duration = Duration::from_millis(400);
/// Each of the three in each place.
const ORDERS: [[usize; 3]; 3] = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];

/// A receiver that can be killed and started again at the same place.
trait Peer {
    fn socket(&self) -> String;
    /// Ends it; what it was sent before and nobody told the sender of is lost with it.
    fn kill(&mut self);
    fn start(&mut self);
    /// The numbers of all events that it has had, in all its lives.
    fn numbers(&mut self) -> Vec<u64>;
}

/// JSON-RPC with replies, in another process.
struct Tcp {
    stream: Stream,
    had: Vec<u64>,
}

impl Peer for Tcp {
    fn socket(&self) -> String {
        self.stream.socket("/m?reliable=1")
    }

    fn kill(&mut self) {
        self.stream.kill();
        self.had.extend(self.stream.rest());
    }

    fn start(&mut self) {
        self.stream = Stream::again(&self.stream, &[]);
    }

    fn numbers(&mut self) -> Vec<u64> {
        let texts = self.stream.waiting();
        let numbers = texts.iter().map(|text| number(text.as_bytes()));
        self.had.extend(numbers);
        self.had.clone()
    }
}

/// An XML-RPC server, in another process.
struct Rpc {
    server: Server,
    had: Vec<u64>,
}

impl Peer for Rpc {
    fn socket(&self) -> String {
        self.server.socket(":on_event")
    }

    fn kill(&mut self) {
        self.server.kill();
        let bodies = self.server.bodies();
        self.had
            .extend(bodies.iter().map(|body| xmlrpc::number(body)));
    }

    fn start(&mut self) {
        self.server = Server::at(self.server.port);
    }

    fn numbers(&mut self) -> Vec<u64> {
        let mut had = self.had.clone();
        had.extend(self.server.numbers());
        had
    }
}

/// Datagrams, on a thread that reads them.
struct Datagrams {
    path: PathBuf,
    running: Option<(UnixDatagram, JoinHandle<Vec<u64>>)>,
    had: Vec<u64>,
}

impl Datagrams {
    fn at(path: &Path) -> Self {
        let mut peer = Self {
            path: path.to_owned(),
            running: None,
            had: Vec::new(),
        };
        peer.start();
        peer
    }
}

impl Peer for Datagrams {
    fn socket(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn kill(&mut self) {
        let (socket, reader) = self.running.take().unwrap();
        // It takes nothing more, and what lies in its queue is read.
        socket.shutdown(Shutdown::Read).unwrap();
        drop(socket);
        self.had.extend(reader.join().unwrap());
    }

    fn start(&mut self) {
        std::fs::remove_file(&self.path).ok();
        let socket = UnixDatagram::bind(&self.path).unwrap();
        let ours = socket.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut numbers = Vec::new();
            loop {
                match socket.recv(&mut buffer) {
                    Ok(0) | Err(_) => return numbers,
                    Ok(length) => numbers.push(number(&buffer[..length])),
                }
            }
        });
        self.running = Some((ours, reader));
    }

    fn numbers(&mut self) -> Vec<u64> {
        // What was delivered lies in its queue, at least: a new life begins behind that.
        self.kill();
        self.start();
        self.had.clone()
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

/// The three receivers, in that order.
fn peers(directory: &TempDir, order: [usize; 3]) -> Vec<Box<dyn Peer>> {
    let make = |kind| -> Box<dyn Peer> {
        let had = Vec::new();
        match kind {
            0 => Box::new(Tcp {
                stream: Stream::new(),
                had,
            }),
            1 => Box::new(Rpc {
                server: Server::to_return(),
                had,
            }),
            _ => Box::new(Datagrams::at(&directory.file("c.sock"))),
        }
    };
    order.map(make).into()
}

fn group(peers: &[Box<dyn Peer>]) -> (Engine, Event) {
    // Only what fails is to be left, however busy this machine is.
    let patient = Duration::from_secs(15);
    let (engine, event) = engine_with(
        "E_X",
        config(|config| {
            config.failover_hold = HOLD;
            config.unix_wait = patient;
            config.tcp.reply_time = patient;
            config.tcp.stall_time = patient;
            config.tcp.retry_time = Duration::from_millis(50);
            config.xmlrpc.reply_time = patient;
            config.xmlrpc.retry_time = Duration::from_millis(50);
        }),
    );
    let sockets: Vec<String> = peers.iter().map(|peer| peer.socket()).collect();
    let group = format!("virtual:FAILOVER {}", sockets.join(" "));
    engine.subscribe("E_X", &group, Expire::Never).unwrap();
    (engine, event)
}

fn members(engine: &Engine) -> Vec<MemberState> {
    only(engine, "E_X").members
}

/// Raises ten events and gives how many of these each has had, which together is each once.
#[track_caller]
fn shares(
    engine: &Engine,
    event: &Event,
    peers: &mut [Box<dyn Peer>],
    alive: &[usize],
) -> [usize; 3] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = NEXT.fetch_add(10, Ordering::Relaxed);
    raise_all(event, first..first + 10);
    settled(engine);
    let mut all = Vec::new();
    let mut shares = [0; 3];
    for place in alive {
        let mut had = peers[*place].numbers();
        had.retain(|n| (first..first + 10).contains(n));
        assert!(had.is_sorted(), "in order: {had:?}");
        shares[*place] = had.len();
        all.extend(had);
    }
    all.sort_unstable();
    assert_eq!(
        all,
        Vec::from_iter(first..first + 10),
        "each once: {shares:?}"
    );
    shares
}

#[test]
fn each_in_turn_takes_over() {
    for order in ORDERS {
        let directory = TempDir::new();
        let mut peers = peers(&directory, order);
        let (engine, event) = group(&peers);
        let well = |place: usize| {
            eventually("the end of the hold", || {
                members(&engine)[place].held_secs.is_none()
            });
        };
        assert_eq!(
            shares(&engine, &event, &mut peers, &[0, 1, 2]),
            [10, 0, 0],
            "{order:?}"
        );
        peers[0].kill();
        assert_eq!(
            shares(&engine, &event, &mut peers, &[1, 2]),
            [0, 10, 0],
            "{order:?}"
        );
        peers[1].kill();
        assert_eq!(
            shares(&engine, &event, &mut peers, &[2]),
            [0, 0, 10],
            "{order:?}"
        );
        // The second is back, then the first: each is found when it has been left alone.
        peers[1].start();
        well(0);
        well(1);
        assert_eq!(
            shares(&engine, &event, &mut peers, &[1, 2]),
            [0, 10, 0],
            "{order:?}"
        );
        peers[0].start();
        well(0);
        assert_eq!(
            shares(&engine, &event, &mut peers, &[0, 1, 2]),
            [10, 0, 0],
            "{order:?}"
        );
        // The last one's failure is nobody's business.
        peers[2].kill();
        assert_eq!(
            shares(&engine, &event, &mut peers, &[0, 1]),
            [10, 0, 0],
            "{order:?}"
        );
        // None is left.
        peers[0].kill();
        peers[1].kill();
        raise_all(&event, 0..10);
        let stats = settled(&engine);
        assert_eq!(
            (stats.delivered, stats.dropped.of(Reason::NoTarget)),
            (60, 10),
            "{order:?}"
        );
        for peer in &mut peers {
            peer.start();
        }
        (0..3).for_each(well);
        assert_eq!(
            shares(&engine, &event, &mut peers, &[0, 1, 2]),
            [10, 0, 0],
            "{order:?}"
        );
        let delivered: u64 = members(&engine).iter().map(|member| member.delivered).sum();
        assert_eq!(delivered, 70, "one outcome for each event");
    }
}

#[test]
fn under_load_no_event_is_lost_and_only_who_was_killed_has_one_too_many() {
    for order in ORDERS {
        let directory = TempDir::new();
        let mut peers = peers(&directory, order);
        let (engine, event) = group(&peers);
        let raised = AtomicU64::new(0);
        let stop = Stop::default();
        thread::scope(|scope| {
            let _stop = stop.on_drop();
            scope.spawn(|| {
                while !stop.is_set() {
                    // As many as the slowest of them takes without a full queue.
                    let n = raised.load(Ordering::Relaxed);
                    if n < engine.stats().delivered + 200 {
                        raise(&event, n);
                        raised.store(n + 1, Ordering::Relaxed);
                    } else {
                        thread::yield_now();
                    }
                }
            });
            let more = |count: u64| {
                let wanted = engine.stats().delivered + count;
                eventually("more events", || engine.stats().delivered >= wanted);
            };
            more(50);
            for _ in 0..2 {
                for (place, peer) in peers.iter_mut().enumerate() {
                    peer.kill();
                    more(50);
                    peer.start();
                    // Tried again, and the first one that is well has it.
                    eventually("the end of the hold", || {
                        members(&engine)[place].held_secs.is_none()
                    });
                    more(50);
                }
            }
        });
        let stats = settled(&engine);
        let raised = raised.into_inner();
        assert_eq!(
            (stats.matched, stats.delivered),
            (raised, raised),
            "{stats:?}"
        );
        let delivered: u64 = members(&engine).iter().map(|member| member.delivered).sum();
        assert_eq!(delivered, raised);
        let mut had: BTreeMap<u64, u64> = BTreeMap::new();
        for (place, peer) in peers.iter_mut().enumerate() {
            let numbers = peer.numbers();
            let delivered = members(&engine)[place].delivered;
            let count = numbers.len() as u64;
            assert!(
                count >= delivered,
                "{order:?} {place}: {count} of {delivered}"
            );
            // Of what it was killed with, it told nobody: twice, and no more than were under way.
            assert!(
                count <= delivered + 2 * 200,
                "{order:?} {place}: {count}, {delivered}"
            );
            for n in numbers {
                *had.entry(n).or_default() += 1;
            }
        }
        assert_eq!(
            Vec::from_iter(had.keys().copied()),
            Vec::from_iter(0..raised)
        );
    }
}
