//! Nothing: see `paths.rs`, which counts, and `hot.rs`, which the library shows it.
