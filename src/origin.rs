//! Where an event came from: the nodes it passed before this one, and the handlers that led to it.
//!
//! Nodes that publish to a broker and take from it could send one event round for ever. So what is
//! published carries the names of the nodes it passed, in a header called [`HEADER`], and a node
//! that finds its own name there does not raise the event again. A handler that raises the event
//! it handles would go on for ever too: each raise knows how many handlers deep it is.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::limits::{HANDLER_DEPTH, NODE_NAME_BYTES, PATH_NODES, PATHS};
use crate::sync::Mutex;

/// The header of a published message that names the nodes an event passed, oldest first, with
/// commas between them.
#[allow(dead_code, reason = "for transports that are features")]
pub(crate) const HEADER: &str = "bellwire-path";

/// Where one event came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its place among the [`Origins`]; 0 is this node alone.
    path: u16,
    /// How many handlers led to it, one within the other.
    depth: u8,
}

const _: () = assert!(HANDLER_DEPTH < u8::MAX && PATHS <= u16::MAX as usize);

impl Origin {
    /// That of what a handler of this event raises.
    pub(crate) fn deeper(self) -> Self {
        Self {
            depth: self.depth.saturating_add(1),
            ..self
        }
    }

    /// Whether too many handlers led to it.
    #[inline]
    pub(crate) fn is_too_deep(self) -> bool {
        self.depth > HANDLER_DEPTH
    }
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
#[allow(dead_code, reason = "for transports that are features")]
pub(crate) enum Loop {
    /// It was here before.
    #[error("it was here before")]
    Closed,
    /// The header is no list of nodes, or one that is too long: it may well be a loop.
    #[error("its {HEADER} is no list of at most {PATH_NODES} nodes")]
    Path,
    /// As many different paths as are kept were seen already.
    #[error("events have come by {PATHS} different paths already")]
    Paths,
}

/// All ways by which events came, each kept once, as the header that is published says them.
#[derive(Debug)]
pub(crate) struct Origins {
    own: NodeName,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    paths: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u16>,
}

#[allow(dead_code, reason = "for transports that are features")]
impl Origins {
    pub(crate) fn new(own: NodeName) -> Self {
        let known = Known {
            paths: vec![Arc::clone(&own.0)],
            places: HashMap::from([(Arc::clone(&own.0), 0)]),
        };
        Self {
            own,
            known: Mutex::new(known),
        }
    }

    /// The header to publish an event with.
    pub(crate) fn header(&self, origin: Origin) -> Arc<str> {
        let known = self.known.lock().expect("no panic under this lock");
        Arc::clone(&known.paths[usize::from(origin.path)])
    }

    /// The origin of an event that came with that header, or with none.
    pub(crate) fn enter(&self, header: Option<&[u8]>) -> Result<Origin, Loop> {
        let Some(header) = header.filter(|header| !header.is_empty()) else {
            return Ok(Origin::default());
        };
        let header = std::str::from_utf8(header).map_err(|_| Loop::Path)?;
        let nodes = header.split(',');
        if nodes.clone().any(|node| node == self.own.as_str()) {
            return Err(Loop::Closed);
        }
        if nodes.clone().count() >= PATH_NODES || nodes.clone().any(|n| NodeName::new(n).is_err()) {
            return Err(Loop::Path);
        }
        let path = format!("{header},{}", self.own.as_str());
        let mut known = self.known.lock().expect("no panic under this lock");
        let path = match known.places.get(path.as_str()) {
            Some(&place) => place,
            None => known.keep(path.into()).ok_or(Loop::Paths)?,
        };
        Ok(Origin { path, depth: 0 })
    }
}

#[allow(dead_code, reason = "for transports that are features")]
impl Known {
    fn keep(&mut self, path: Arc<str>) -> Option<u16> {
        let place = u16::try_from(self.paths.len()).ok()?;
        if usize::from(place) >= PATHS {
            return None;
        }
        self.paths.push(Arc::clone(&path));
        self.places.insert(path, place);
        Some(place)
    }
}

#[cfg(test)]
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
        assert_eq!(a.enter(Some(b"")), Ok(Origin::default()));
    }

    #[test]
    fn a_path_is_kept_once_and_there_are_not_too_many() {
        let a = origins("a");
        let first = a.enter(Some(b"n1")).unwrap();
        for n in 2..PATHS {
            a.enter(Some(format!("n{n}").as_bytes())).unwrap();
        }
        assert_eq!(a.enter(Some(b"one-more")), Err(Loop::Paths));
        assert_eq!(a.enter(Some(b"n1")), Ok(first));
        assert_eq!(&*a.header(first), "n1,a");
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
