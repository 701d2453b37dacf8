//! The invariants: what must hold after each step, and what when everything is at rest.

use super::oracle::{Count, EVENTS, Key, LAST_MS};
use super::run::Simulation;
use super::world::{self, RECEIVERS, Receiver, V4, V6, is_unix, is_v6};
use crate::destination::Format;
use crate::limits::UDP_STALLED;
use crate::registry::{Expire, Record, State, Target};
use crate::stats::{Reason, Stats};

impl Simulation {
    /// The two identities, of each event and of all; every count is the oracle's.
    pub(super) fn check_counts(&self) {
        let mut sum = Stats::default();
        for (event, count) in self.oracle.counts.iter().enumerate() {
            let stats = self.events[event].cell().totals.read();
            self.check_event(event, count, &stats);
            sum.add(&stats);
        }
        let in_lanes = self.handle.shared.lanes.waiting() + self.core.unserved();
        assert_eq!(
            sum.raised,
            sum.fanned_out + sum.dropped_before.total() + in_lanes as u64,
            "raised = fanned out + dropped before + in lanes"
        );
        assert_eq!(sum.in_flight, self.core.waiting() as u64, "in flight");
        let by_kernel = [Reason::Refused, Reason::Unreachable, Reason::Other];
        if self.udp_only && self.world.net().families == [true, true] {
            let dropped: u64 = by_kernel.iter().map(|&reason| sum.dropped.of(reason)).sum();
            let errors = self.world.net().udp_errors;
            assert!(dropped <= errors, "{dropped} dropped for {errors} errors");
        }
    }

    fn check_event(&self, event: usize, count: &Count, stats: &Stats) {
        let context = || format!("E_{event}: {stats:?}, should be {count:?}");
        assert_eq!(stats.raised, count.raised, "{}", context());
        let before = &stats.dropped_before;
        assert_eq!(
            before.of(Reason::LaneFull),
            count.lane_full,
            "{}",
            context()
        );
        assert_eq!(before.of(Reason::TooBig), count.too_big, "{}", context());
        assert_eq!(stats.fanned_out, count.fanned_out, "{}", context());
        assert_eq!(stats.matched, count.matched, "{}", context());
        assert_eq!(stats.delivered, count.taken, "{}", context());
        assert_eq!(
            stats.matched,
            stats.delivered + stats.dropped.total() + stats.in_flight,
            "matched = delivered + dropped + in flight, {}",
            context()
        );
    }

    /// The identity of each subscription as well.
    pub(super) fn check_all(&mut self) {
        self.check_counts();
        let mut seen = 0;
        let mut waiting = [0; RECEIVERS];
        for event in 0..EVENTS {
            let table = self.events[event].cell().table.load();
            for chunk in table.chunks() {
                for record in &chunk.records {
                    seen += 1;
                    let key = key(event, record);
                    let sub = self.oracle.get(key).expect("the oracle knows it");
                    let tally = chunk.page.tally(record.place);
                    let settled = tally.delivered.get() + tally.drops().total();
                    let context = || format!("E_{event} to {}: {sub:?}", key.socket());
                    assert_eq!(tally.matched.get(), sub.matched, "matched, {}", context());
                    assert_eq!(tally.delivered.get(), sub.taken, "delivered, {}", context());
                    assert!(settled <= sub.matched, "{settled} settled, {}", context());
                    assert_eq!(tally.in_flight(), sub.matched - settled, "{}", context());
                    waiting[key.receiver] += tally.in_flight();
                }
            }
        }
        assert_eq!(seen, self.oracle.len());
        let (by_udp, by_unix) = waiting.split_at(V4 + V6);
        let by_udp: u64 = by_udp.iter().sum();
        assert!(by_udp <= UDP_STALLED as u64, "{by_udp} wait for room");
        let most = by_unix.iter().max().copied().unwrap_or(0);
        assert!(
            most <= self.unix_backlog as u64,
            "{most} wait for one receiver"
        );
    }

    /// What the subscriptions of who is well got so far.
    pub(super) fn taken(&self, well: &[bool; RECEIVERS]) -> Vec<(Key, u64)> {
        let families = self.world.net().families;
        let reachable =
            |receiver: Receiver| is_unix(receiver) || families[usize::from(is_v6(receiver))];
        self.oracle
            .keys()
            .filter(|(key, _)| well[key.receiver] && reachable(key.receiver))
            .map(|(key, sub)| (key, sub.taken))
            .collect()
    }

    /// The listing shows what the oracle knows.
    pub(super) fn check_listing(&self, well: &[bool; RECEIVERS]) {
        let listed = self.handle.subscriptions(None);
        assert_eq!(listed.len(), self.oracle.len());
        for (key, sub) in self.oracle.keys() {
            let (event, socket) = (format!("E_{}", key.event), key.socket());
            let listed = listed
                .iter()
                .find(|listed| listed.event == event && listed.socket == socket)
                .unwrap_or_else(|| panic!("{socket} of {event} is not listed"));
            let left = sub.end_ms.map(|end| match end {
                LAST_MS => u64::MAX,
                end => end - self.now_ms(),
            });
            let ttl = left.map(|left| left.div_ceil(1000).min(u64::from(sub.expire_secs)) as u32);
            assert_eq!(listed.ttl_secs, ttl, "{socket}");
            let expire = match sub.end_ms {
                Some(_) => Expire::AfterSecs(sub.expire_secs),
                None => Expire::Never,
            };
            assert_eq!(listed.expire, expire, "{socket}");
            assert_eq!(listed.matched, sub.matched, "{socket}");
            if well[key.receiver] {
                assert_eq!(listed.state, State::Up, "{socket}");
            }
        }
    }

    /// After the end: everything was classified, and nothing is under way.
    pub(super) fn check_closed(&self) {
        let stats = self.handle.stats();
        assert_eq!(stats.in_lanes, 0);
        assert_eq!(stats.in_flight, 0);
        assert_eq!(
            stats.raised,
            stats.fanned_out + stats.dropped_before.total()
        );
        assert_eq!(stats.matched, stats.delivered + stats.dropped.total());
        let raised: u64 = self.oracle.counts.iter().map(|count| count.raised).sum();
        assert_eq!(stats.raised, raised);
    }
}

/// The oracle's name for a record.
fn key(event: usize, record: &Record) -> Key {
    let receiver = match &record.target {
        Target::Shared(destination, _) => {
            let (_, path) = destination.key.split_once(':').expect("a scheme");
            world::behind(path.as_ref())
        }
        Target::Group(_) => panic!("no group subscribes here"),
        Target::V4 { .. } | Target::V6 { .. } => {
            world::at(record.target.address().expect("an address"))
        }
    };
    let text = record.format == Format::Text;
    Key {
        event,
        receiver,
        text,
    }
}
