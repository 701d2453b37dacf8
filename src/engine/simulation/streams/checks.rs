//! What must hold, whatever happened.

use std::collections::{HashMap, HashSet};

use super::Simulation;
use super::subs::{Kind, Place};

impl Simulation {
    /// Reads what the kernel took of every connection: whole texts, and at its end a part of one.
    pub(super) fn look(&mut self) {
        for (number, link) in self.world.net().links.iter_mut().enumerate() {
            for text in link.texts() {
                let method = text["method"].as_str().expect("a method");
                let (sub, member) = method[1..].split_once('m').expect("a place");
                let place: Place = (
                    sub.parse().expect("a sub"),
                    member.parse().expect("a member"),
                );
                let n = text["params"]["n"].as_u64().expect("a number");
                if let Some(id) = text["id"].as_u64() {
                    let known = *self.ids.entry((place, n)).or_insert(id);
                    assert_eq!(known, id, "it comes again with the same id");
                }
                let is_request = self.subs[place.0].kinds[place.1] == Kind::Request;
                assert_eq!(text["id"].is_u64(), is_request, "{method}");
                self.came.entry(place).or_default().push((n, number));
            }
        }
    }

    pub(super) fn check_sums(&self) {
        let stats = self.handle.stats();
        let settled = stats.delivered + stats.dropped.total();
        assert_eq!(stats.matched, settled + stats.in_flight);
        let before = stats.fanned_out + stats.dropped_before.total();
        let unserved = self.core.unserved() as u64;
        assert_eq!(stats.raised, before + stats.in_lanes + unserved);
    }

    /// What came is what should, and no more counts as delivered than came.
    pub(super) fn check_all(&mut self) {
        self.look();
        for (place, came) in &self.came {
            let kind = self.subs[place.0].kinds[place.1];
            let is_group = self.subs[place.0].is_group;
            let (mut seen, mut newest) = (HashSet::new(), 0);
            let mut on_one = HashMap::new();
            for &(n, link) in came {
                let there: &mut Vec<u64> = on_one.entry(link).or_default();
                assert!(
                    !there.contains(&n),
                    "{place:?}: {n} twice on one connection"
                );
                // What a member gave back comes to the next one after what that has already.
                let in_order = there.last().is_none_or(|last| *last < n);
                assert!(in_order || is_group, "{place:?}: {n} too late");
                there.push(n);
                let is_new = seen.insert(n);
                assert!(
                    is_new || kind == Kind::Request,
                    "{place:?}: {n} comes twice"
                );
                if is_new && !is_group {
                    assert!(n > newest, "{place:?}: {n} after {newest}");
                    newest = n;
                }
            }
        }
        for (number, sub) in self.subs.iter().enumerate().filter(|(_, sub)| sub.is_there) {
            let listed = self
                .handle
                .subscription(&format!("E_{}", sub.event), &sub.socket);
            let listed = listed.expect("it is there");
            let settled = listed.delivered + listed.dropped.total();
            assert_eq!(listed.matched, settled + listed.in_flight, "{}", sub.socket);
            let got = |member: usize| {
                let place = (number, member);
                let of_place = |asked: &&(Place, u64)| asked.0 == place;
                match sub.kinds[member] {
                    Kind::Notification => self.came.get(&place).map_or(0, Vec::len),
                    Kind::Request => self.accepted.iter().filter(of_place).count(),
                    Kind::Datagram => self.world.net().mailboxes[&number].got.len(),
                }
            };
            if !sub.is_group {
                assert!(listed.delivered <= got(0) as u64, "{}", sub.socket);
                continue;
            }
            let members: u64 = listed.members.iter().map(|member| member.delivered).sum();
            match sub.is_exclusive {
                true => assert_eq!(members, listed.delivered, "{}: one has it", sub.socket),
                false => assert!(members >= listed.delivered, "{}", sub.socket),
            }
            for (member, state) in listed.members.iter().enumerate() {
                assert!(state.delivered <= got(member) as u64, "{}", state.socket);
                let settled = state.delivered + state.failed.total();
                assert_eq!(state.tried, settled + state.in_flight, "{}", state.socket);
            }
        }
    }
}
