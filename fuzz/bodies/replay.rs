//! Every committed input through its target: what was found once is never found again.

use std::fs;
use std::path::Path;

use super::TARGETS;

#[test]
fn corpora_are_replayed() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let folder = corpora.join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut count = 0;
        for file in files {
            let path = file.expect("a file").path();
            let bytes = fs::read(&path).expect("a file");
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                panic!("{name} fails with {}", path.display());
            }
            count += 1;
        }
        assert!(count > 0, "{folder:?} is empty");
    }
}
