//! What happens around the engine, and the engine's own turn.

use rustix::io::Errno;

use super::subs::Place;
use super::{EVENTS, HOSTS, SUBSCRIPTIONS, Simulation};
use crate::engine::control;
use crate::engine::simulation::random::Random;
use crate::registry::Expire;
use crate::sync::atomic::Ordering::Relaxed;
use crate::testing::network::{Link, Net};

impl Simulation {
    pub(super) fn step(&mut self) {
        match self.random.below(24) {
            0..6 => {
                for _ in 0..self.random.between(1, 6) {
                    let event = self.random.below(EVENTS);
                    self.raise(event);
                }
            }
            6..8 => self.subscribe_or_not(),
            8..12 => {
                let most = self.random.pick(&[5, 50, 400]);
                let millis = self.random.between(0, most);
                self.pass(millis as u64);
            }
            12..15 => self.with_link(|link, random| {
                link.open = true;
                link.room += random.below(800);
            }),
            15..17 => self.with_link(|link, random| link.room += random.below(4000)),
            17 => self.with_link(|link, random| match (link.open, random.below(3)) {
                (false, _) => link.broken = Some(Errno::CONNREFUSED),
                (true, 0) => link.closed = true,
                (true, _) => link.broken = Some(Errno::CONNRESET),
            }),
            18 | 19 => self.reply(),
            20 => self.live_or_die(),
            21 => self.read_mailbox(),
            _ => {}
        }
        self.turn();
    }

    pub(super) fn raise(&mut self, event: usize) {
        self.raised += 1;
        let filler = "x".repeat(self.random.pick(&[0, 0, 30, 200]));
        let n = self.raised;
        let raised = self.events[event].raise(|p| {
            p.uint("n", n).str("v", &filler);
        });
        self.note(format_args!("raise {n} of E_{event}: {raised:?}"));
    }

    fn subscribe_or_not(&mut self) {
        let number = self.random.below(SUBSCRIPTIONS);
        let sub = &mut self.subs[number];
        let event = format!("E_{}", sub.event);
        if sub.is_there {
            assert!(
                self.handle
                    .unsubscribe(&event, &sub.socket)
                    .expect("a socket")
            );
        } else {
            let subscribed = self.handle.subscribe(&event, &sub.socket, Expire::Never);
            subscribed.expect("a socket");
        }
        sub.is_there = !sub.is_there;
        let words = format!("{} {event} {}", sub.is_there, sub.socket);
        self.note(format_args!("subscribed: {words}"));
        control::turn(&self.handle.shared);
    }

    /// Something happens to a connection that is not over, and the reactor is told.
    fn with_link(&mut self, act: impl FnOnce(&mut Link, &mut Random)) {
        let mut net = self.world.net();
        let alive: Vec<usize> = (0..net.links.len())
            .filter(|number| !net.links[*number].is_over())
            .collect();
        if alive.is_empty() {
            return;
        }
        let number = alive[self.random.below(alive.len())];
        let host = net.links[number].host;
        let listens = net.alive[host];
        let link = &mut net.links[number];
        match listens || link.open {
            true => act(link, &mut self.random),
            false => link.broken = Some(Errno::CONNREFUSED),
        }
        let destination = link.destination;
        net.ready.push(destination);
    }

    /// A receiver goes or comes, or the way there.
    fn live_or_die(&mut self) {
        let host = self.random.below(HOSTS);
        let mut net = self.world.net();
        match self.random.below(4) {
            0 => net.reachable[host] = !net.reachable[host],
            1 | 2 => {
                net.alive[host] = !net.alive[host];
                let Net {
                    links,
                    ready,
                    alive,
                    ..
                } = &mut *net;
                let here = |link: &&mut Link| link.host == host && !link.is_over();
                for link in links.iter_mut().filter(here) {
                    if !alive[host] {
                        link.broken = Some(Errno::CONNRESET);
                        ready.push(link.destination);
                    }
                }
            }
            _ => {
                let number = self.random.below(SUBSCRIPTIONS);
                let mailbox = net.mailboxes.get_mut(&number).expect("it was made");
                mailbox.alive = !mailbox.alive;
                mailbox.queue = 0;
                let watched = mailbox.watched.clone();
                net.ready.extend(watched);
            }
        }
    }

    fn read_mailbox(&mut self) {
        let number = self.random.below(SUBSCRIPTIONS);
        let mut net = self.world.net();
        let mailbox = net.mailboxes.get_mut(&number).expect("it was made");
        mailbox.queue = 0;
        let watched = mailbox.watched.clone();
        net.ready.extend(watched);
    }

    /// The other side of one connection replies to some of what it has, well or badly.
    fn reply(&mut self) {
        self.look();
        let mut net = self.world.net();
        let links: Vec<usize> = (0..net.links.len())
            .filter(|number| net.links[*number].open && !net.links[*number].is_over())
            .collect();
        if links.is_empty() {
            return;
        }
        let number = links[self.random.below(links.len())];
        let mut asked: Vec<(Place, u64)> = Vec::new();
        for (place, came) in &self.came {
            let here = came.iter().filter(|(_, link)| *link == number);
            asked.extend(here.map(|(n, _)| (*place, *n)));
        }
        asked.retain(|asked| self.ids.contains_key(asked));
        // The order of a map is not that of the seed.
        asked.sort_unstable();
        let mut text = String::new();
        for _ in 0..self.random.below(10) {
            if asked.is_empty() {
                break;
            }
            let recent = asked.len().min(20);
            let asked = asked[asked.len() - 1 - self.random.below(recent)];
            let id = self.ids[&asked];
            match self.random.below(8) {
                0 => text += "garbage } {",
                1 => text += &format!("{{\"id\":{id},\"error\":{{\"code\":1}}}}\n"),
                2 => text += &format!("{{\"id\":{},\"result\":1}}", self.random.below(1 << 30)),
                _ => {
                    text += &format!("{{\"result\":1,\"id\":{id}}}");
                    self.accepted.insert(asked);
                }
            }
        }
        let link = &mut net.links[number];
        link.said.extend_from_slice(text.as_bytes());
        let destination = link.destination;
        net.ready.push(destination);
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now_ms.fetch_add(millis, Relaxed);
        control::turn(&self.handle.shared);
    }

    /// The reactor works until it has nothing to do.
    pub(super) fn turn(&mut self) {
        for _ in 0..10_000 {
            let now = self.handle.shared.clock.now();
            let worked = self.core.turn(now, &self.world);
            let ready = std::mem::take(&mut self.world.net().ready);
            for destination in &ready {
                self.core.ready(*destination as usize, now, &self.world);
            }
            control::turn(&self.handle.shared);
            self.check_sums();
            let is_due = self.core.deadline().is_some_and(|deadline| deadline <= now);
            if !worked && ready.is_empty() && !is_due && self.core.is_idle() {
                return;
            }
        }
        panic!("the reactor does not come to rest");
    }
}
