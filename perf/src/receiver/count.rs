//! What has arrived: written by the receiving thread, read by the answering one.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::protocol::{Arrived, Probe};
use crate::clock::now_ns;
use crate::histogram::Latencies;

/// Probes kept at most: 100 seconds at a thousand a second.
const PROBES: usize = 100_000;

#[derive(Debug)]
pub(super) struct Count {
    total: AtomicU64,
    bytes: AtomicU64,
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    sockets: Vec<AtomicU64>,
    /// The total that the answering thread waits for.
    wanted: AtomicU64,
    answering: Thread,
    stamped: Option<Mutex<Stamped>>,
}

/// What was learnt of stamped payloads.
#[derive(Debug, Default)]
pub(super) struct Stamped {
    pub(super) latencies: Latencies,
    pub(super) probes: Vec<Probe>,
}

impl Count {
    /// To be made by the answering thread.
    pub(super) fn new(sockets: usize, stamps: bool) -> Self {
        Self {
            total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first_ns: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            sockets: (0..sockets).map(|_| AtomicU64::new(0)).collect(),
            wanted: AtomicU64::new(u64::MAX),
            answering: thread::current(),
            stamped: stamps.then(Mutex::default),
        }
    }

    pub(super) fn wants_stamps(&self) -> bool {
        self.stamped.is_some()
    }

    /// Counts payloads that came through a socket. Only one thread calls this.
    pub(super) fn add(&self, socket: usize, payloads: u64, bytes: u64) {
        let now = now_ns();
        if self.total.load(Relaxed) == 0 {
            self.first_ns.store(now, Relaxed);
        }
        self.last_ns.store(now, Relaxed);
        let total = self.total.fetch_add(payloads, SeqCst) + payloads;
        self.bytes.fetch_add(bytes, Relaxed);
        self.sockets[socket].fetch_add(payloads, Relaxed);
        if total >= self.wanted.load(SeqCst) {
            self.answering.unpark();
        }
    }

    /// Takes note of a payload's stamp, if it has one.
    pub(super) fn stamp(&self, payload: &[u8], now_ns: u64) {
        let Some(stamped) = &self.stamped else { return };
        let Some(sent_ns) = stamp_of(payload) else {
            return;
        };
        let latency_ns = now_ns.saturating_sub(sent_ns);
        let mut stamped = stamped.lock().expect("no panic under it");
        stamped.latencies.record(latency_ns);
        if stamped.probes.len() < PROBES {
            stamped.probes.push(Probe {
                at_ns: now_ns,
                latency_ns,
            });
        }
    }

    /// Acts on what was learnt of stamped payloads.
    pub(super) fn with_stamped<R: Default>(&self, act: impl FnOnce(&mut Stamped) -> R) -> R {
        let stamped = self.stamped.as_ref();
        stamped.map_or_else(R::default, |stamped| {
            act(&mut stamped.lock().expect("no panic under it"))
        })
    }

    /// Waits until so many have arrived, or the time is over.
    pub(super) fn wait(&self, wanted: u64, timeout: Duration) -> Arrived {
        let deadline = Instant::now() + timeout;
        self.wanted.store(wanted, SeqCst);
        while self.total.load(SeqCst) < wanted && Instant::now() < deadline {
            thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        self.wanted.store(u64::MAX, SeqCst);
        Arrived {
            count: self.total.load(SeqCst),
            bytes: self.bytes.load(Relaxed),
            first_ns: self.first_ns.load(Relaxed),
            last_ns: self.last_ns.load(Relaxed),
            sockets: self
                .sockets
                .iter()
                .map(|count| count.load(Relaxed))
                .collect(),
        }
    }

    /// From zero again. Called when nothing is on its way.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Relaxed);
        self.sockets
            .iter()
            .for_each(|count| count.store(0, Relaxed));
        self.total.store(0, SeqCst);
        self.with_stamped(|stamped| *stamped = Stamped::default());
    }
}

/// The number after `"t":`.
fn stamp_of(payload: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"t\":";
    let at = payload
        .windows(KEY.len())
        .position(|window| window == KEY)?;
    let digits = payload[at + KEY.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let mut stamp = 0_u64;
    for digit in digits {
        stamp = stamp
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    // 0 stands for a payload that nobody times.
    (stamp > 0).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read() {
        assert_eq!(stamp_of(br#"{"params":{"t":1234,"ip":"1"}}"#), Some(1234));
        assert_eq!(stamp_of(br#"{"params":{"t":0,"ip":"1"}}"#), None);
        assert_eq!(stamp_of(br#"{"params":{"ip":"1"}}"#), None);
        assert_eq!(stamp_of(br#"{"t":99999999999999999999999}"#), None);
    }

    #[test]
    fn waits_for_the_count_and_not_for_the_clock() {
        let count = Count::new(2, false);
        count.add(0, 3, 30);
        count.add(1, 1, 10);
        let begun = Instant::now();
        let arrived = count.wait(4, Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!((arrived.count, arrived.bytes), (4, 40));
        assert_eq!(arrived.sockets, [3, 1]);
        assert!(arrived.first_ns <= arrived.last_ns && arrived.first_ns > 0);
        assert_eq!(count.wait(5, Duration::from_millis(1)).count, 4);
        count.reset();
        assert_eq!(count.wait(0, Duration::ZERO).count, 0);
    }
}
