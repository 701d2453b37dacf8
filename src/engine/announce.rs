//! The engine's own events: what a transport has to say to subscribers.

use std::sync::{Arc, Weak};

use super::raise::Event;
use super::shared::Shared;
use crate::transport::Announce;

/// What raises the engine's own events, with string parameters, on the calling thread. One that
/// nobody declared is raised for nobody.
pub(super) fn announcer(shared: Weak<Shared>) -> Announce {
    Arc::new(move |name, params| {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Some(cell) = shared.registry.find(name) else {
            return;
        };
        Event::new(cell, shared).raise(|p| {
            for (name, value) in params {
                p.str(name, value);
            }
        });
    })
}
