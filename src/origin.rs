//! Where an event came from: the nodes it passed before this one, and the handlers that led to it.
//!
//! Nodes that publish to a broker and take from it could send one event round for ever. So what is
//! published carries the names of the nodes it passed, in a header (`paths::HEADER`), and a node
//! that finds its own name there does not raise the event again. A handler that raises the event
//! it handles would go on for ever too: each raise knows how many handlers deep it is.

#[cfg(feature = "brokers")]
mod paths;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use crate::limits::{NESTED_RAISES, NODE_NAME_BYTES, PATHS};
use crate::sync::per_thread;
#[cfg(feature = "brokers")]
pub(crate) use paths::{HEADER, Origins};

/// Where one event came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The nodes it passed before this one, by their place in the list of paths; 0 is none.
    path: u16,
    /// How often that place was taken before, as far as a byte tells.
    turn: u8,
    /// How many handlers led to it, one within the other.
    depth: u8,
}

const _: () = assert!(NESTED_RAISES < u8::MAX && PATHS <= u16::MAX as usize);

impl Origin {
    /// Raised on this node, by no handler.
    pub(crate) const HERE: Self = Self {
        path: 0,
        turn: 0,
        depth: 0,
    };

    /// Whether too many handlers led to it.
    #[inline]
    pub(crate) fn is_too_deep(self) -> bool {
        self.depth > NESTED_RAISES
    }
}

per_thread! {
    /// Where an event comes from that this thread raises now.
    static CURRENT: Cell<Origin> = const { Cell::new(Origin::HERE) };
}

/// Where an event comes from that this thread raises now.
#[inline]
pub(crate) fn current() -> Origin {
    // A thread that ends handles nothing.
    CURRENT.try_with(Cell::get).unwrap_or(Origin::HERE)
}

/// Has all that this thread raises within `act` come from there.
pub(crate) fn within<R>(origin: Origin, act: impl FnOnce() -> R) -> R {
    struct Restore(Origin);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|now| now.set(self.0));
        }
    }
    let _restore = Restore(CURRENT.with(|now| now.replace(origin)));
    act()
}

/// Runs the handler of an event that came from there: what it raises is one deeper. OpenSIPS
/// counts the nested raises of one process, which does not see its event routes, as they run from
/// a queue; this depth travels with the event.
pub(crate) fn handling<R>(origin: Origin, run: impl FnOnce() -> R) -> R {
    let depth = origin.depth.saturating_add(1);
    within(Origin { depth, ..origin }, run)
}

/// What a node is called, among those that share brokers: 1 to [`NODE_NAME_BYTES`] bytes of
/// `A-Z a-z 0-9 _ . - :`.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has another character in it.
    pub fn new(name: &str) -> Result<Self, NodeNameError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.-:".contains(c);
        match (1..=NODE_NAME_BYTES).contains(&name.len()) && name.chars().all(is_allowed) {
            true => Ok(Self(name.into())),
            false => Err(NodeNameError(name.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeName({})", self.0)
    }
}

/// Why a node cannot be called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node name {0:?}: 1 to {NODE_NAME_BYTES} of A-Z a-z 0-9 _ . - : are allowed")]
pub struct NodeNameError(String);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_raises_is_one_deeper_and_comes_by_the_same_path() {
        let path = Origin {
            path: 5,
            ..Origin::HERE
        };
        assert_eq!(current(), Origin::HERE);
        let inner = within(path, || {
            let deep = Origin { depth: 6, ..path };
            let fails = || handling(deep, || panic!("{}", current().depth));
            let panicked = std::panic::catch_unwind(fails);
            assert_eq!(panicked.unwrap_err().downcast_ref::<String>().unwrap(), "7");
            (current(), handling(current(), current))
        });
        assert_eq!(inner, (path, Origin { depth: 1, ..path }));
        assert_eq!(current(), Origin::HERE);
        let deepest = Origin {
            depth: u8::MAX,
            ..Origin::HERE
        };
        assert_eq!(handling(deepest, current), deepest);
    }

    #[test]
    fn names_of_nodes_are_checked() {
        for name in ["", "a,b", "a b", "ä", &"x".repeat(NODE_NAME_BYTES + 1)] {
            assert!(NodeName::new(name).is_err(), "{name:?}");
        }
    }
}
