//! Where an event came from: the nodes it passed before this one, and the handlers that led to it.
//!
//! Nodes that publish to a broker and take from it could send one event round for ever. So what is
//! published carries the names of the nodes it passed, in a header called [`HEADER`], and a node
//! that finds its own name there does not raise the event again. A handler that raises the event
//! it handles would go on for ever too: each raise knows how many handlers deep it is.

#![cfg_attr(
    not(any(feature = "rabbitmq", feature = "kafka")),
    allow(dead_code, reason = "only nodes that share a broker ask")
)]

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::limits::{NESTED_RAISES, NODE_NAME_BYTES, PATH_NODES, PATHS};
use crate::sync::per_thread;

/// The header of a published message that names the nodes an event passed, oldest first, with
/// commas between them.
pub(crate) const HEADER: &str = "bellwire-path";

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

    /// A name that no other node has, with the host's name in it.
    pub(crate) fn unique() -> Self {
        let host = rustix::system::uname();
        let host: String = host
            .nodename()
            .to_string_lossy()
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c))
            .take(NODE_NAME_BYTES - 17)
            .collect();
        // Each hasher of the standard library has keys of its own.
        let random = RandomState::new().hash_one(0);
        Self(format!("{host}:{random:016x}").into())
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

/// Why an event that came from a broker is not raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loop {
    /// It was here before.
    #[error("it was here before")]
    Closed,
    /// The header is no list of nodes, or one that is too long: it may well be a loop.
    #[error("its {HEADER} is no list of at most {PATH_NODES} nodes")]
    Path,
}

/// The paths by which events came to this process of late, each kept once.
///
/// There is room for so many; then the one that was kept first makes room. An event that came by
/// it and is still on its way is published as if it came from here: should it go round, the nodes
/// after this one still end it.
#[derive(Debug, Default)]
struct Paths {
    kept: Vec<(Arc<str>, u8)>,
    places: HashMap<Arc<str>, usize>,
    /// The place to take next.
    next: usize,
}

impl Paths {
    fn lock() -> MutexGuard<'static, Self> {
        static KNOWN: LazyLock<Mutex<Paths>> = LazyLock::new(Mutex::default);
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The origin of what came by that path.
    fn origin(&mut self, path: &str) -> Origin {
        let place = match self.places.get(path) {
            Some(&place) => place,
            None => self.keep(path.into()),
        };
        Origin {
            path: u16::try_from(place + 1).unwrap_or(0),
            turn: self.kept[place].1,
            depth: 0,
        }
    }

    fn keep(&mut self, path: Arc<str>) -> usize {
        let place = self.next;
        self.next = (place + 1) % PATHS;
        match self.kept.get_mut(place) {
            Some((old, turn)) => {
                self.places.remove(old);
                (*old, *turn) = (Arc::clone(&path), turn.wrapping_add(1));
            }
            None => self.kept.push((Arc::clone(&path), 0)),
        }
        self.places.insert(path, place);
        place
    }

    fn text(&self, origin: Origin) -> Option<&str> {
        let place = usize::from(origin.path).checked_sub(1)?;
        let (text, turn) = self.kept.get(place)?;
        (*turn == origin.turn).then_some(text)
    }
}

/// What one node makes of the paths of events.
#[derive(Debug)]
pub(crate) struct Origins {
    own: NodeName,
}

impl Origins {
    pub(crate) fn new(own: NodeName) -> Self {
        Self { own }
    }

    /// The header to publish an event with.
    pub(crate) fn header(&self, origin: Origin) -> Arc<str> {
        match Paths::lock().text(origin) {
            Some(path) => format!("{path},{}", self.own.as_str()).into(),
            None => Arc::clone(&self.own.0),
        }
    }

    /// The origin of an event that came with that header, or with none.
    pub(crate) fn enter(&self, header: Option<&[u8]>) -> Result<Origin, Loop> {
        let Some(header) = header.filter(|header| !header.is_empty()) else {
            return Ok(Origin::HERE);
        };
        let header = std::str::from_utf8(header).map_err(|_| Loop::Path)?;
        let nodes = || header.split(',');
        if nodes().any(|node| node == self.own.as_str()) {
            return Err(Loop::Closed);
        }
        if nodes().count() >= PATH_NODES || nodes().any(|node| NodeName::new(node).is_err()) {
            return Err(Loop::Path);
        }
        Ok(Paths::lock().origin(header))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn origins(own: &str) -> Origins {
        Origins::new(NodeName::new(own).unwrap())
    }

    #[test]
    fn what_is_published_names_all_nodes_it_passed() {
        let (a, b, c) = (origins("a"), origins("b"), origins("c"));
        let from_a = a.header(a.enter(None).unwrap());
        assert_eq!(&*from_a, "a");
        let from_b = b.header(b.enter(Some(from_a.as_bytes())).unwrap());
        assert_eq!(&*from_b, "a,b");
        let from_c = c.header(c.enter(Some(from_b.as_bytes())).unwrap());
        assert_eq!(&*from_c, "a,b,c");
        assert_eq!(a.enter(Some(from_c.as_bytes())), Err(Loop::Closed));
        assert_eq!(b.enter(Some(from_c.as_bytes())), Err(Loop::Closed));
    }

    #[test]
    fn a_name_within_another_is_no_loop() {
        let a = origins("a");
        assert!(a.enter(Some(b"aa,b-a")).is_ok());
        assert_eq!(a.enter(Some(b"aa,a")), Err(Loop::Closed));
    }

    #[test]
    fn a_header_that_is_no_path_is_refused() {
        let a = origins("a");
        for header in [&b"b,,c"[..], b"b c", b"\xff", b",", &vec![b'b'; 1000]] {
            assert_eq!(a.enter(Some(header)), Err(Loop::Path), "{header:?}");
        }
        let longest = vec!["b"; PATH_NODES - 1].join(",");
        assert!(a.enter(Some(longest.as_bytes())).is_ok());
        assert_eq!(
            a.enter(Some(format!("{longest},b").as_bytes())),
            Err(Loop::Path)
        );
        assert_eq!(a.enter(Some(b"")), Ok(Origin::HERE));
    }

    #[test]
    fn a_path_is_kept_once_and_the_oldest_makes_room() {
        let mut paths = Paths::default();
        let all: Vec<Origin> = (0..PATHS).map(|n| paths.origin(&format!("n{n}"))).collect();
        assert_eq!(paths.origin("n7"), all[7]);
        let text = |paths: &Paths, n: usize| paths.text(all[n]).map(str::to_owned);
        assert_eq!(text(&paths, 0).as_deref(), Some("n0"));
        let newest = paths.origin("one more");
        assert_eq!(text(&paths, 0), None, "its place has another by now");
        assert_eq!(text(&paths, 1).as_deref(), Some("n1"));
        assert_eq!(paths.text(newest), Some("one more"));
        assert_ne!(paths.origin("n0"), all[0]);
        assert_eq!(text(&paths, 1), None);
        assert_eq!((paths.kept.len(), paths.places.len()), (PATHS, PATHS));
        assert_eq!(paths.text(Origin::HERE), None);
    }

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
        let unique = NodeName::unique();
        assert_eq!(NodeName::new(unique.as_str()), Ok(unique.clone()));
        assert_ne!(unique, NodeName::unique());
    }
}
