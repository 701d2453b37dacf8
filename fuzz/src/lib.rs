//! The daemon's modules once more, as a library that targets can call: the daemon itself is a
//! program, and shows nothing.
#![allow(
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "targets call a part of it"
)]

#[path = "../../daemon/src/args.rs"]
mod args;
#[path = "../../daemon/src/client/mod.rs"]
mod client;
#[path = "../../daemon/src/commands/mod.rs"]
mod commands;
#[path = "../../daemon/src/failure.rs"]
mod failure;
#[path = "../bodies/daemon.rs"]
pub mod fuzzed;
#[path = "../../daemon/src/http/mod.rs"]
mod http;
#[path = "../../daemon/src/listen/mod.rs"]
mod listen;
#[path = "../../daemon/src/rundir.rs"]
mod rundir;
#[path = "../../daemon/src/no_script.rs"]
mod script;
#[path = "../../daemon/src/serve/mod.rs"]
mod serve;
#[path = "../../daemon/src/settings/mod.rs"]
mod settings;
#[path = "../../daemon/src/table.rs"]
mod table;
