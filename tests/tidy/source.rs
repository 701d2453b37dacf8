//! A file of the repository, and all of them.

use std::fs;
use std::path::Path;

/// What exists only for tests, models and fuzzers. It may see everything.
const SCAFFOLDS: &[&str] = &[
    "src/stress",
    "src/testing",
    "src/engine/rig.rs",
    "src/engine/simulation",
    "src/engine/still.rs",
    "src/registry/oracle.rs",
];

/// Folders of what is not ours to judge: built, or captured elsewhere.
const STRANGE: &[&str] = &["target", ".git", "golden", "corpus", "artifacts"];

/// A file of the repository.
pub(super) struct Source {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is part of the library or the daemon, and not only of their tests.
    pub(super) fn is_product(&self) -> bool {
        let is_scaffold = SCAFFOLDS.iter().any(|path| self.path.starts_with(path));
        self.is_rust()
            && !is_scaffold
            && !self.path.contains("/tests")
            && (self.path.starts_with("src/") || self.path.starts_with("daemon/src/"))
    }

    /// The numbered lines, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The lines above the tests that stand at the end of the file.
    pub(super) fn lines_above_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_module =
            |line: &str| line.starts_with("mod ") || line.starts_with("pub(crate) mod ");
        let lines: Vec<&str> = self.text.lines().collect();
        let begin = lines.windows(2).position(|pair| {
            let is_test =
                pair[0].starts_with("#[cfg(test)]") || pair[0].starts_with("#[cfg(all(test");
            is_test && is_module(pair[1]) && pair[1].ends_with('{')
        });
        self.lines().take(begin.unwrap_or(lines.len()))
    }

    pub(super) fn finding(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// The line without its comment. A `//` in a string counts as one, which does no harm here.
pub(super) fn code(line: &str) -> &str {
    match line.find("//") {
        // Part of an address, such as `http://`.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    }
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

/// The text files of the repository.
pub(super) fn repository() -> Vec<Source> {
    fn gather(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
        let entries = fs::read_dir(folder).expect("a folder of the repository");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if STRANGE.contains(&&*name) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                gather(&path, root, sources);
                continue;
            }
            // What is not text has no style.
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let path = path.strip_prefix(root).expect("below the root");
            sources.push(Source::new(&path.to_string_lossy(), &text));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    gather(root, root, &mut sources);
    assert!(sources.len() > 100, "found the repository");
    sources
}
