//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures Bellwire: whole scenarios over real sockets, each beside its yardstick.
#[derive(Debug, Parser)]
#[command(name = "bellwire-perf")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs every scenario and judges the targets.
    All(Output),
    /// Runs some scenarios.
    Run {
        /// Their names; `list` prints them.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Prints the scenarios.
    List,
    /// Prints what changed from one report to another.
    Compare {
        /// The report before, as JSON.
        before: PathBuf,
        /// The report after.
        after: PathBuf,
    },
    /// The receivers' process; started by the harness.
    #[command(hide = true)]
    Receiver { options: String },
    /// The process whose memory is measured; started by the harness.
    #[command(hide = true)]
    Grow { what: String },
}

#[derive(Args, Debug)]
pub(crate) struct Output {
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Few rounds: shows that everything works; the figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,
}
