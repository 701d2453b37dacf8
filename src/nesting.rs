//! How deeply raises are nested: an event that a handler raises is one deeper than the one it
//! handles, whatever queues and threads lie between.
//!
//! Without a limit a handler that raises its own event would run for ever. OpenSIPS counts nested
//! raises of one process (`MAX_REC_LEV`, 100), which does not see its event routes, as they run
//! from a queue; ours travels with the event.

use std::cell::Cell;

use crate::sync::per_thread;

per_thread! {
    /// How deep an event is that this thread raises now.
    static DEPTH: Cell<u8> = const { Cell::new(0) };
}

/// How deep an event is that this thread raises now: 0 outside of handlers.
#[inline]
pub(crate) fn depth() -> u8 {
    // A thread that ends handles nothing.
    DEPTH.try_with(Cell::get).unwrap_or(0)
}

/// Runs the handler of an event that is so deep.
pub(crate) fn handling<R>(depth: u8, run: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEPTH.with(|now| now.set(self.0));
        }
    }
    let _restore = Restore(DEPTH.with(|now| now.replace(depth.saturating_add(1))));
    run()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_that_of_the_handler_and_ends_with_it() {
        assert_eq!(depth(), 0);
        let inner = handling(0, || {
            let panicked = std::panic::catch_unwind(|| handling(6, || panic!("{}", depth())));
            assert_eq!(panicked.unwrap_err().downcast_ref::<String>().unwrap(), "7");
            depth()
        });
        assert_eq!((inner, depth()), (1, 0));
        assert_eq!(handling(u8::MAX, depth), u8::MAX);
    }
}
