//! What the models share: how a model is run, the bell that wakes a sleeper, and an engine.
//!
//! Everything here is empty without `--cfg loom`, so that `cargo test --workspace` passes by.
#![cfg(loom)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bellwire::internals::{Rig, Wake};
use bellwire::{Config, Event, Expire};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

/// Preemptions of a thread by another that loom tries in one run.
const PREEMPTIONS: usize = 3;
/// Steps of one run at which loom gives up: a livelock.
const BRANCHES: usize = 20_000;
/// The stack of a thread that runs the engine, in words: loom's default is for less.
const STACK: usize = 16 * 1024;

/// Runs the model in every order of its threads' steps with up to 3 preemptions, or as many as
/// `LOOM_MAX_PREEMPTIONS` says.
///
/// # Panics
/// When the model does, in any order; when its threads wait for each other; when they never end.
pub fn model(run: impl Fn() + Send + Sync + 'static) {
    model_to(PREEMPTIONS, run);
}

/// The same with a bound of its own, for a model that would take too long.
///
/// # Panics
/// As [`model`].
pub fn model_to(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    if std::env::var_os("LOOM_LOG").is_some() {
        // Only this sets up loom's log. It is for finding out; the bound is the environment's.
        return loom::model(run);
    }
    let mut builder = loom::model::Builder::new();
    let bound = *builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = builder.max_branches.max(BRANCHES);
    let begun = Instant::now();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        run();
    });
    let name = std::thread::current()
        .name()
        .unwrap_or("a model")
        .to_owned();
    println!(
        "{name}: {} orders, {bound} preemptions, {:.1} s",
        runs.load(Relaxed),
        begun.elapsed().as_secs_f64(),
    );
}

/// A thread of a model, with room for the engine's frames.
///
/// # Panics
/// Never: loom's threads cannot fail to start.
pub fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let builder = thread::Builder::new().stack_size(STACK);
    builder.spawn(run).expect("loom starts every thread")
}

/// An eventfd: rung by many, waited for by one, and a ring is not forgotten.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: Mutex<bool>,
    changed: Condvar,
    /// Not part of the model: only counted.
    rings: AtomicUsize,
}

impl Bell {
    /// Wakes the sleeper, or lets its next sleep return at once.
    pub fn ring(&self) {
        self.0.rings.fetch_add(1, Relaxed);
        *self.0.rung.lock().expect("not poisoned") = true;
        self.0.changed.notify_one();
    }

    /// Sleeps until it is rung.
    pub fn sleep(&self) {
        let mut rung = self.0.rung.lock().expect("not poisoned");
        while !*rung {
            rung = self.0.changed.wait(rung).expect("not poisoned");
        }
        *rung = false;
    }

    /// How often it was rung.
    pub fn rings(&self) -> usize {
        self.0.rings.load(Relaxed)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

/// Longer than any model waits.
const LONG: Duration = Duration::from_secs(3600);

/// A real engine whose threads are the model's, and whose kernel notes what is sent.
#[derive(Debug)]
pub struct Engine {
    /// Its handle, and what models may do beyond it.
    pub rig: Rig,
    bell: Bell,
    sent: Arc<std::sync::Mutex<Vec<u16>>>,
    /// Rung for each datagram.
    sending: Bell,
}

impl Engine {
    /// An engine that knows the event `E_X`. A lane holds `lane_events`.
    ///
    /// # Panics
    /// Never: the name is good.
    pub fn new(lane_events: usize) -> (Self, Event) {
        let mut config = Config::default();
        config.lane_events = lane_events;
        let bell = Bell::default();
        let alarm = bell.clone();
        let rig = Rig::new(config, move || alarm.ring());
        let event = rig.declare("E_X").expect("a good name");
        let engine = Self {
            rig,
            bell,
            sent: Arc::default(),
            sending: Bell::default(),
        };
        (engine, event)
    }

    /// Starts the reactor.
    pub fn start(&self) -> Reactor {
        let (rig, bell) = (self.rig.clone(), self.bell.clone());
        let (sent, sending) = (Arc::clone(&self.sent), self.sending.clone());
        let run = move || {
            let send = Arc::new(move |to: SocketAddr, _: &[u8]| {
                sent.lock().expect("not poisoned").push(to.port());
                sending.ring();
                Ok(())
            });
            rig.run_reactor(send, |timeout| match timeout {
                Some(timeout) if timeout < LONG / 2 => thread::yield_now(),
                // Nobody waits that long: a sleeper that is not rung is lost.
                Some(_) | None => bell.sleep(),
            });
        };
        Reactor(spawn(run))
    }

    /// Subscribes the UDP receiver with that port.
    ///
    /// # Panics
    /// When the event was not declared.
    pub fn subscribe(&self, event: &str, port: u16) {
        let subscribed = self.rig.subscribe(event, &socket(port), Expire::Never);
        subscribed.expect("a declared event and a good socket");
    }

    /// Ends a subscription.
    ///
    /// # Panics
    /// When there was none.
    pub fn unsubscribe(&self, event: &str, port: u16) {
        let ended = self.rig.unsubscribe(event, &socket(port));
        assert!(ended.expect("a declared event and a good socket"));
    }

    /// Sleeps until the next datagram is sent.
    pub fn wait_sent(&self) {
        self.sending.sleep();
    }

    /// Asks the reactor to drain and to end.
    pub fn refuse(&self) {
        refuse(&self.rig);
    }

    /// The ports that datagrams were sent to, in order.
    ///
    /// # Panics
    /// Never: nothing panics while it notes one.
    pub fn sent(&self) -> Vec<u16> {
        self.sent.lock().expect("not poisoned").clone()
    }
}

/// Asks the reactor of that engine to drain and to end.
pub fn refuse(rig: &Rig) {
    rig.refuse(LONG);
}

/// The reactor's thread.
#[derive(Debug)]
#[must_use = "an engine is joined"]
pub struct Reactor(JoinHandle<()>);

impl Reactor {
    /// Waits for its end.
    ///
    /// # Panics
    /// When it did.
    pub fn join(self) {
        self.0.join().expect("the reactor ends well");
    }
}

/// The socket string of the UDP receiver with that port.
pub fn socket(port: u16) -> String {
    format!("udp:127.0.0.1:{port}")
}
