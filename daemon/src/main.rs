//! The program `bellwire`: the daemon, and the commands that ask it.
//!
//! | module | what |
//! |---|---|
//! | `args` | the command line |
//! | `serve` | `bellwire serve`: the engine and everything around it |
//! | `script` | its event routes in Lua |
//! | `settings` | its configuration file |
//! | `http` | its management over HTTP |
//! | `rundir` | where its sockets are |
//! | `client` | how the other commands reach it |
//! | `commands`, `listen` | what they do |
//! | `table`, `failure` | how results and errors are shown |
//!
//! The library does the work; this crate uses its public names only.

mod args;
mod client;
mod commands;
mod failure;
#[cfg(test)]
#[path = "../../fuzz/bodies/daemon.rs"]
#[allow(unreachable_pub, reason = "shared with the fuzzer's library")]
mod fuzzed;
mod http;
mod listen;
mod rundir;
#[cfg(feature = "lua")]
mod script;
#[cfg(not(feature = "lua"))]
#[path = "no_script.rs"]
mod script;
mod serve;
mod settings;
mod table;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing::level_filters::LevelFilter;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { log, command } = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(log))
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let outcome = match &command {
        Command::Serve(args) => serve::serve(args),
        Command::Config(args) => commands::config(args),
        Command::Subscribe(args) => commands::subscribe(args),
        Command::Unsubscribe(args) => commands::unsubscribe(args),
        Command::Events(args) => commands::events(args),
        Command::Subscribers(args) => commands::subscribers(args),
        Command::Raise(args) => commands::raise(args),
        Command::Stats(args) => commands::stats(args),
        Command::Listen(args) => listen::listen(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
