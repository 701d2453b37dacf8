//! The nodes that events passed, as published messages name them in their header.

#![cfg_attr(
    not(any(feature = "kafka", feature = "rabbitmq")),
    allow(dead_code, reason = "no event comes to us from a queue of SQS")
)]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};

use super::{NodeName, Origin};
use crate::limits::{NODE_NAME_BYTES, PATH_NODES, PATHS};
use crate::sync::{Mutex, SwapCell};

/// The header of a published message that names the nodes an event passed, oldest first, with
/// commas between them.
pub(crate) const HEADER: &str = "bellwire-path";

/// What one node makes of the paths of events.
#[derive(Debug)]
pub(crate) struct Origins {
    own: NodeName,
}

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

impl Origins {
    /// `own` is the name of this node; without one it gets a name that no other has.
    pub(crate) fn new(own: Option<NodeName>) -> Self {
        Self {
            own: own.unwrap_or_else(unique),
        }
    }

    /// The header to publish an event with. Asked for each event that is published: it locks
    /// nothing.
    pub(crate) fn header(&self, origin: Origin) -> Arc<str> {
        match Paths::known().find(origin) {
            Some(path) => path.header(&self.own),
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
        Ok(Paths::known().origin(header))
    }
}

/// A name that no other node has, with the host's name in it.
fn unique() -> NodeName {
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
    NodeName(format!("{host}:{random:016x}").into())
}

/// The paths by which events came to this process of late, each kept once. A handler may raise on
/// another engine than the one it got its event from, so all engines of a process have them in
/// common.
///
/// There is room for so many; then the one that was kept first makes room. An event that came by
/// it and is still on its way is published as if it came from here: should it go round, the nodes
/// after this one still end it.
#[derive(Debug)]
struct Paths {
    places: Box<[SwapCell<Path>]>,
    index: Mutex<Index>,
}

/// Where the paths are kept.
#[derive(Debug, Default)]
struct Index {
    places: HashMap<Arc<str>, usize>,
    /// The place to take next.
    next: usize,
}

/// A path in its place.
#[derive(Debug, Default)]
struct Path {
    text: Arc<str>,
    /// How often the place was taken before, as far as a byte tells.
    turn: u8,
    /// The header that the first node published for it.
    header: OnceLock<(NodeName, Arc<str>)>,
}

impl Default for Paths {
    fn default() -> Self {
        let nobody = Arc::<Path>::default();
        Self {
            places: std::iter::repeat_with(|| SwapCell::new(Arc::clone(&nobody)))
                .take(PATHS)
                .collect(),
            index: Mutex::default(),
        }
    }
}

impl Paths {
    fn known() -> &'static Self {
        static KNOWN: LazyLock<Paths> = LazyLock::new(Paths::default);
        &KNOWN
    }

    /// The origin of what came by that path.
    fn origin(&self, text: &str) -> Origin {
        let mut index = self.index.lock().expect("no panic under this lock");
        let place = match index.places.get(text) {
            Some(&place) => place,
            None => self.keep(text.into(), &mut index),
        };
        Origin {
            path: u16::try_from(place + 1).unwrap_or(0),
            turn: self.places[place].load().turn,
            depth: 0,
        }
    }

    fn keep(&self, text: Arc<str>, index: &mut Index) -> usize {
        let place = index.next;
        index.next = (place + 1) % PATHS;
        let old = self.places[place].load();
        index.places.remove(&old.text);
        index.places.insert(Arc::clone(&text), place);
        self.places[place].swap(Arc::new(Path {
            text,
            turn: old.turn.wrapping_add(1),
            header: OnceLock::new(),
        }));
        place
    }

    /// The path of an event, unless it came by none, or by one that has made room.
    fn find(&self, origin: Origin) -> Option<Arc<Path>> {
        let place = usize::from(origin.path).checked_sub(1)?;
        let path = self.places.get(place)?.load();
        (path.turn == origin.turn).then_some(path)
    }
}

impl Path {
    /// The header for what came by it and is published by that node. It is made once, as the
    /// process is one node; where it is several, each of the others makes its own every time.
    fn header(&self, node: &NodeName) -> Arc<str> {
        let make = || format!("{},{}", self.text, node.as_str()).into();
        let (first, header) = self.header.get_or_init(|| (node.clone(), make()));
        match first == node {
            true => Arc::clone(header),
            false => make(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn origins(own: &str) -> Origins {
        Origins::new(Some(NodeName::new(own).unwrap()))
    }

    #[test]
    fn a_header_is_made_once_for_each_path() {
        let (a, b) = (origins("a"), origins("b"));
        let path = a.enter(Some(b"made,once")).unwrap();
        let header = a.header(path);
        assert_eq!(&*header, "made,once,a");
        assert!(Arc::ptr_eq(&header, &a.header(path)), "it is the same text");
        assert_eq!(
            &*b.header(path),
            "made,once,b",
            "another node of this process"
        );
        assert!(Arc::ptr_eq(&header, &a.header(path)));
    }

    #[test]
    fn a_node_without_a_name_gets_one_of_its_own() {
        let name = unique();
        assert_eq!(NodeName::new(name.as_str()), Ok(name.clone()));
        assert_ne!(name, unique());
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
        let paths = Paths::default();
        let all: Vec<Origin> = (0..PATHS).map(|n| paths.origin(&format!("n{n}"))).collect();
        assert_eq!(paths.origin("n7"), all[7]);
        let text = |paths: &Paths, n: usize| paths.find(all[n]).map(|path| path.text.to_string());
        assert_eq!(text(&paths, 0).as_deref(), Some("n0"));
        let newest = paths.origin("one more");
        assert_eq!(text(&paths, 0), None, "its place has another by now");
        assert_eq!(text(&paths, 1).as_deref(), Some("n1"));
        assert_eq!(&*paths.find(newest).unwrap().text, "one more");
        assert_ne!(paths.origin("n0"), all[0]);
        assert_eq!(text(&paths, 1), None);
        assert_eq!(paths.index.lock().unwrap().places.len(), PATHS);
        assert!(paths.find(Origin::HERE).is_none());
    }
}
