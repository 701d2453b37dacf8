//! How many connections there are, and which of them has to go when there are too many.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::AbortHandle;

/// The open connections of one server.
///
/// When all places are taken, the connection that has waited longest for its client goes: a
/// client that opens many and says little cannot keep others out.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: RefCell<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Since when it waits for its client; `None` while it works for it.
    waits_since: Option<Instant>,
    task: Option<AbortHandle>,
}

/// One connection's place among the others.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    connections: Rc<Connections>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self {
            most,
            open: RefCell::default(),
        })
    }

    /// A place for one more, if need be by closing another; `None` if all are at work.
    pub(super) fn enter(self: &Rc<Self>) -> Option<Place> {
        let mut open = self.open.borrow_mut();
        if open.entries.len() >= self.most {
            let waiting = open
                .entries
                .iter()
                .filter_map(|(number, entry)| entry.waits_since.map(|since| (since, *number)));
            let (_, longest) = waiting.min()?;
            if let Some(Entry {
                task: Some(task), ..
            }) = open.entries.remove(&longest)
            {
                task.abort();
            }
        }
        let number = open.next;
        open.next += 1;
        open.entries.insert(
            number,
            Entry {
                waits_since: Some(Instant::now()),
                task: None,
            },
        );
        Some(Place {
            number,
            connections: Rc::clone(self),
        })
    }
}

impl Place {
    /// Says which task to end should the place be needed.
    pub(super) fn hold(&self, task: AbortHandle) {
        self.change(|entry| entry.task = Some(task));
    }

    /// A whole request is there: the connection must stay until it is answered.
    pub(super) fn works(&self) {
        self.change(|entry| entry.waits_since = None);
    }

    /// The request is answered; the next one is waited for.
    pub(super) fn waits(&self) {
        self.change(|entry| entry.waits_since = Some(Instant::now()));
    }

    /// The connection is closed.
    pub(super) fn leave(&self) {
        self.connections
            .open
            .borrow_mut()
            .entries
            .remove(&self.number);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self
            .connections
            .open
            .borrow_mut()
            .entries
            .get_mut(&self.number)
        {
            change(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_waiting_goes_and_who_works_stays() {
        let connections = Connections::new(2);
        let first = connections.enter().unwrap();
        let second = connections.enter().unwrap();
        first.works();
        let third = connections.enter().unwrap();
        assert!(
            !connections
                .open
                .borrow()
                .entries
                .contains_key(&second.number)
        );
        third.works();
        assert!(connections.enter().is_none(), "both work");
        first.waits();
        connections.enter().unwrap();
        assert!(
            !connections
                .open
                .borrow()
                .entries
                .contains_key(&first.number)
        );
        assert!(
            connections
                .open
                .borrow()
                .entries
                .contains_key(&third.number)
        );
        third.leave();
        assert_eq!(connections.open.borrow().entries.len(), 1);
    }
}
