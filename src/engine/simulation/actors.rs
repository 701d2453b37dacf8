//! The engine's two threads, one step at a time: what `Reactor::run` and `control::run` do.

use std::sync::Arc;

use super::oracle::EVENTS;
use super::run::Simulation;
use super::world::{RECEIVERS, is_unix};
use crate::engine::control;

impl Simulation {
    /// One round of the reactor: a turn, and a nap if there was nothing to do. The others act
    /// between any two of its steps.
    pub(super) fn turn_or_nap(&mut self) {
        self.act_a_little();
        let begun = self.now();
        if self.turn() {
            return;
        }
        if self.random.one_in(4) {
            self.act();
        }
        let shared = Arc::clone(&self.handle.shared);
        let nap = shared.parker.prepare();
        let wakes = self.wakes();
        if self.random.one_in(4) {
            self.act();
        }
        if !self.core.is_idle() {
            return;
        }
        let deadline = self.core.deadline();
        assert!(
            deadline.is_none_or(|deadline| deadline > begun),
            "the reactor has nothing to do and does not sleep: a busy loop"
        );
        self.naps += 1;
        self.trace
            .note(&[2], format_args!("nap until {deadline:?}"));
        while self.steps < self.steps_max {
            let woken = self.wakes() - wakes;
            assert!(woken <= 1, "{woken} wakes for one nap");
            let due = deadline.is_some_and(|deadline| deadline <= self.now());
            if woken > 0 || due || !self.world.net().ready.is_empty() {
                break;
            }
            let work = shared.lanes.waiting() + shared.registry.retirements.len();
            assert_eq!(work, 0, "a wake-up was lost");
            self.act();
        }
        drop(nap);
        self.serve();
    }

    /// One turn of the core; says whether there was anything to do.
    pub(super) fn turn(&mut self) -> bool {
        self.steps += 1;
        self.turns += 1;
        self.oracle.ended.clear();
        let before = self.fanned_out();
        let worked = self.core.turn(self.now(), &self.world);
        let after = self.fanned_out();
        for event in 0..EVENTS {
            self.oracle.fan_out(event, after[event] - before[event]);
        }
        self.trace
            .note(&[3, u64::from(worked)], format_args!("turn: {after:?}"));
        self.receive();
        worked
    }

    fn fanned_out(&self) -> [u64; EVENTS] {
        let fanned_out = |event: usize| self.events[event].cell().totals.fanned_out.get();
        std::array::from_fn(fanned_out)
    }

    /// The reactor sees to the sockets that became ready.
    pub(super) fn serve(&mut self) {
        let ready = std::mem::take(&mut self.world.net().ready);
        for ready in ready {
            self.trace
                .note(&[4], format_args!("destination {ready} is ready"));
            self.core.ready(ready as usize, self.now(), &self.world);
        }
        self.receive();
    }

    /// Looks at what the kernel took.
    fn receive(&mut self) {
        let arrivals = std::mem::take(&mut self.world.net().arrivals);
        for arrival in &arrivals {
            let (receiver, size) = (arrival.receiver as u64, arrival.payload.len() as u64);
            let head = &arrival.payload[..arrival.payload.len().min(70)];
            let words = format_args!("{receiver} gets {}", head.escape_ascii());
            self.trace.note(&[5, receiver, size], words);
            self.oracle.arrive(arrival);
        }
        self.check_counts();
    }

    /// The control thread, if it is awake.
    pub(super) fn control(&mut self) {
        let now_ms = self.now_ms();
        let registry = &self.handle.shared.registry;
        let due = self.control_at.is_some_and(|at| at <= now_ms);
        if due || registry.was_called() {
            control::turn(&self.handle.shared);
            let due_in = registry.due_in(now_ms);
            assert_ne!(due_in, Some(0), "the control thread does not get done");
            self.control_at = due_in.map(|due_in| now_ms + due_in);
        }
        self.oracle.expire(now_ms);
        assert_eq!(
            registry.len(),
            self.oracle.len(),
            "subscriptions at {now_ms} ms"
        );
    }

    /// All is well, but for a few receivers that stay as they are: the others get everything, at
    /// once, whatever came before.
    pub(super) fn lull(&mut self) {
        self.lulls += 1;
        let mut well = [false; RECEIVERS];
        for (receiver, well) in well.iter_mut().enumerate() {
            *well = !self.random.one_in(5);
            let mut net = self.world.net();
            if *well && !net.hosts[receiver].alive {
                net.revive(receiver);
            }
        }
        self.world.net().clear_up();
        self.trace.note(&[6], format_args!("lull: {well:?}"));
        // Longer than any back-off and than anything waits.
        let wait = u64::try_from(self.unix_wait.as_millis())
            .unwrap_or(0)
            .max(2000)
            + 1;
        self.settle(&well);
        self.pass(wait);
        self.settle(&well);
        assert_eq!(self.core.waiting(), 0, "something waits for ever");
        self.check_all();
        // Slow receivers have less room than what comes at once, and read it in time.
        let slow = self.unix_backlog >= 16 && self.random.one_in(2);
        for host in &mut self.world.net().hosts {
            host.queue_max = if slow { 1 } else { 100 };
        }
        let most = if slow { 3 } else { 12 };
        let before = self.taken(&well);
        let count = self.random.between(1, most).min(self.lane_events);
        let size = self.random.pick(&[3, 40, 1300]);
        for event in 0..EVENTS {
            for _ in 0..count {
                self.raise(event, size);
            }
            self.settle(&well);
        }
        for ((key, before), (_, after)) in before.into_iter().zip(self.taken(&well)) {
            assert_eq!(after - before, count as u64, "{} is well", key.socket());
        }
        self.check_all();
        self.check_listing(&well);
        for host in &mut self.world.net().hosts {
            host.queue_max = self.random.pick(&[1, 3, 10, 10]);
        }
    }

    /// Turns until there is nothing to do; who is well reads.
    fn settle(&mut self, well: &[bool; RECEIVERS]) {
        for _ in 0..100_000 {
            let worked = self.turn();
            for receiver in (0..RECEIVERS).filter(|&receiver| well[receiver] && is_unix(receiver)) {
                self.world.net().read(receiver, usize::MAX);
            }
            let ready = !self.world.net().ready.is_empty();
            self.serve();
            if !worked && !ready && self.core.is_idle() {
                return;
            }
        }
        panic!("the reactor does not come to rest");
    }

    /// Refuses, drains, closes: in time, and everything counted.
    pub(super) fn shut_down(&mut self) {
        let drain_ms = self.random.pick(&[0, 10, 1000, 10_000]);
        let until = self.now() + std::time::Duration::from_millis(drain_ms);
        let late = self.now_ms() + drain_ms;
        let shared = Arc::clone(&self.handle.shared);
        shared.drain_until.get_or_init(|| until);
        shared.parker.refuse();
        self.trace
            .note(&[7, drain_ms], format_args!("shut down in {drain_ms} ms"));
        loop {
            let worked = self.turn();
            if self.core.is_drained(self.now(), worked) {
                break;
            }
            assert!(self.now_ms() < late, "the shutdown is late");
            self.act();
            if !worked {
                let at = self.core.deadline().expect("a deadline to drain by");
                let wait = at.saturating_duration_since(self.now()).as_millis();
                self.pass(
                    u64::try_from(wait)
                        .unwrap_or(0)
                        .clamp(0, late - self.now_ms().min(late)),
                );
            }
            self.serve();
        }
        self.core.close(self.now(), &self.world);
        self.receive();
        for event in 0..EVENTS {
            self.raise(event, 1);
        }
        self.check_closed();
    }
}
