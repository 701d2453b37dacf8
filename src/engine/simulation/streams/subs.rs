//! What is subscribed: streams and UNIX receivers, alone and in groups.

use super::{EVENTS, HOSTS};
use crate::engine::simulation::random::Random;
use crate::testing::network::FIRST_PORT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Notification,
    Request,
    Datagram,
}

/// A subscription that there is now and then.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) event: usize,
    pub(super) socket: String,
    pub(super) kinds: Vec<Kind>,
    pub(super) is_group: bool,
    /// Whether each event goes to one of its members.
    pub(super) is_exclusive: bool,
    pub(super) is_there: bool,
}

/// Which subscription, and which of its members: what the method of a text says.
pub(super) type Place = (usize, usize);

fn socket(random: &mut Random, place: Place) -> (String, Kind) {
    let (sub, member) = place;
    let port = usize::from(FIRST_PORT) + random.below(HOSTS);
    let address = format!("tcp:127.0.0.1:{port}/s{sub}m{member}");
    match random.below(5) {
        0 | 1 => (address, Kind::Notification),
        4 if member < 1 => (format!("unix:/simulated/{sub}"), Kind::Datagram),
        _ => (format!("{address}?reliable=1"), Kind::Request),
    }
}

pub(super) fn sub(random: &mut Random, number: usize) -> Sub {
    let strategy = random.pick(&["", "", "FAILOVER", "FAILOVER", "ROUND-ROBIN", "PARALLEL"]);
    let count = match strategy {
        "" => 1,
        _ => random.between(2, 3),
    };
    let members: Vec<(String, Kind)> = (0..count)
        .map(|member| socket(random, (number, member)))
        .collect();
    let (sockets, kinds): (Vec<String>, Vec<Kind>) = members.into_iter().unzip();
    let sockets = sockets.join(" ");
    Sub {
        event: random.below(EVENTS),
        socket: match strategy {
            "" => sockets,
            _ => format!("virtual:{strategy} {sockets}"),
        },
        kinds,
        is_group: !strategy.is_empty(),
        is_exclusive: strategy != "PARALLEL",
        is_there: false,
    }
}
