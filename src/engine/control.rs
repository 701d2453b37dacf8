//! The control thread: ends subscriptions on time, frees replaced tables.

use std::sync::Arc;

use super::shared::Shared;

/// Runs until the registry is stopped.
pub(super) fn run(shared: &Arc<Shared>) {
    while shared.registry.wait_due(shared.clock.now_ms()) {
        turn(shared);
    }
}

/// Does what there is to do.
pub(super) fn turn(shared: &Shared) {
    shared.registry.sweep();
    if shared.registry.expire(shared.clock.now_ms()) {
        shared.parker.notify();
    }
}
