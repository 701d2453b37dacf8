//! All is well for a while, and the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::subs::Sub;
use super::{EVENTS, Simulation};
use crate::testing::network::Net;

impl Simulation {
    /// All is well for so long.
    fn calm(&mut self, millis: u64) {
        {
            let mut net = self.world.net();
            net.alive.fill(true);
            net.reachable.fill(true);
            net.mailboxes
                .values_mut()
                .for_each(|mailbox| mailbox.alive = true);
        }
        for _ in 0..millis.div_ceil(30) {
            self.pass(30);
            self.turn();
            let mut answered: HashMap<usize, String> = HashMap::new();
            self.look();
            for (place, came) in &self.came {
                for (n, link) in came.iter().rev().take(100) {
                    let is_new = self.answered.insert((*place, *n, *link));
                    if is_new && let Some(id) = self.ids.get(&(*place, *n)) {
                        self.accepted.insert((*place, *n));
                        let text = format!("{{\"id\":{id},\"result\":1}}");
                        answered.entry(*link).or_default().push_str(&text);
                    }
                }
            }
            let mut net = self.world.net();
            let Net {
                links,
                mailboxes,
                ready,
                ..
            } = &mut *net;
            for (number, link) in links
                .iter_mut()
                .enumerate()
                .filter(|(_, link)| !link.is_over())
            {
                link.open = true;
                link.room = 1 << 20;
                if let Some(text) = answered.get(&number) {
                    link.said.extend_from_slice(text.as_bytes());
                }
                ready.push(link.destination);
            }
            for mailbox in mailboxes.values_mut() {
                mailbox.queue = 0;
                ready.extend(&mailbox.watched);
            }
            drop(net);
            self.turn();
        }
    }

    /// What waits arrives or is given up, and what is raised from then on is delivered.
    pub(super) fn lull(&mut self) {
        // Longer than any hold, any back-off, and any wait.
        self.calm(9000);
        assert_eq!(self.core.waiting(), 0, "something waits for ever");
        assert_eq!(self.handle.stats().in_flight, 0);
        self.check_all();
        let delivered = |this: &Self| -> Vec<u64> {
            let there = this.subs.iter().filter(|sub| sub.is_there);
            let of = |sub: &Sub| {
                let listed = this
                    .handle
                    .subscription(&format!("E_{}", sub.event), &sub.socket);
                listed.expect("it is there").delivered
            };
            there.map(of).collect()
        };
        let before = delivered(self);
        for _ in 0..3 {
            (0..EVENTS).for_each(|event| self.raise(event));
            self.calm(100);
        }
        for (before, after) in before.into_iter().zip(delivered(self)) {
            let all = after == before + 3;
            assert!(
                all || !self.is_roomy,
                "all is well, and {} came",
                after - before
            );
        }
        self.check_all();
    }

    pub(super) fn shut_down(&mut self) {
        let shared = Arc::clone(&self.handle.shared);
        let until = shared.clock.now() + Duration::from_millis(20);
        shared.drain_until.get_or_init(|| until);
        shared.parker.refuse();
        self.pass(30);
        let now = shared.clock.now();
        self.core.turn(now, &self.world);
        self.core.close(now, &self.world);
        let stats = self.handle.stats();
        assert_eq!((stats.in_flight, stats.in_lanes), (0, 0));
        assert_eq!(stats.matched, stats.delivered + stats.dropped.total());
        self.check_all();
    }
}
