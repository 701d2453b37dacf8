//! A directory for sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// A place of its own below the temporary directory; removed with all it holds in the end.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Only a name: whoever binds a socket in it makes it.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let name = format!("bellwire-perf-{process}-{number}");
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_none_stays() {
        let (first, second) = (Directory::new(), Directory::new());
        assert_ne!(first.path(), second.path());
        fs::create_dir_all(first.path().join("a")).expect("a writable temporary directory");
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }
}
