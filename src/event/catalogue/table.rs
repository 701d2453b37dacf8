//! The one table, and the search in it.

use super::EventSpec;
use super::calls;
use super::core;
use super::systems;

const PARTS: [&[EventSpec]; 4] = [core::FIRST, calls::ALL, systems::ALL, core::LAST];
const LENGTH: usize = PARTS[0].len() + PARTS[1].len() + PARTS[2].len() + PARTS[3].len();

/// All events known at the start. Their places are the numbers that events have when all of them
/// are declared in this order; the first six are those of OpenSIPS 4.0.
pub static CATALOGUE: &[EventSpec] = &JOINED;

static JOINED: [EventSpec; LENGTH] = {
    let mut joined = [core::FIRST[0]; LENGTH];
    let (mut place, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut index = 0;
        while index < PARTS[part].len() {
            joined[place] = PARTS[part][index];
            (place, index) = (place + 1, index + 1);
        }
        part += 1;
    }
    joined
};

/// The event of that name. A linear search: for the control plane only.
pub fn find(name: &str) -> Option<&'static EventSpec> {
    CATALOGUE.iter().find(|spec| spec.name == name)
}
