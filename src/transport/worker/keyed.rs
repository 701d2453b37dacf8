//! What is open, by key: those who ask for the same share it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::sync::Mutex;

/// Things that live as long as somebody holds them, by key.
#[derive(Debug)]
pub(crate) struct Keyed<T>(Mutex<HashMap<Box<str>, Weak<T>>>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Keyed<T> {
    /// The one of that key.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<T>> {
        let things = self.0.lock().expect("no panic under this lock");
        things.get(key)?.upgrade()
    }

    /// Keeps one under that key, unless somebody was faster: gives the one that is kept.
    pub(crate) fn keep(&self, key: &str, thing: Arc<T>) -> Arc<T> {
        let mut things = self.0.lock().expect("no panic under this lock");
        if let Some(other) = things.get(key).and_then(Weak::upgrade) {
            return other;
        }
        things.insert(key.into(), Arc::downgrade(&thing));
        thing
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let mut things = self.0.lock().expect("no panic under this lock");
        things.retain(|_, thing| thing.strong_count() > 0);
        things.len()
    }
}
