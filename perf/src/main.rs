//! The performance harness of Bellwire.
//!
//! Runs whole scenarios over real sockets, with receivers in processes of their own, each subject
//! in turns with its yardstick; prints tables, writes JSON and one HTML page. See `README.md`.
//!
//! | modules | what |
//! |---|---|
//! | `scenario` | what is measured |
//! | `yardstick`, `peer` | what it is measured against |
//! | `receiver`, `rig`, `team`, `event`, `directory` | receivers, the engine under measurement, threads that raise, what they raise |
//! | `contest`, `pace`, `histogram`, `interval`, `clock`, `thread`, `disassembly` | how it is measured |
//! | `row`, `findings`, `report`, `machine`, `progress`, `cli` | how it is told |
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "the ban is for the engine, which loom must see"
)]

mod cli;
mod clock;
mod contest;
mod directory;
mod disassembly;
mod event;
mod findings;
mod histogram;
mod interval;
mod machine;
mod pace;
mod peer;
mod progress;
mod receiver;
mod report;
mod rig;
mod row;
mod scenario;
mod team;
mod thread;
mod yardstick;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use cli::{Cli, Command, Output};
use report::Report;
use scenario::Scenario;

fn main() -> ExitCode {
    // Before any thread is pinned.
    thread::cpus();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bellwire-perf: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::All(output) => return measure(scenario::ALL, &output),
        Command::Run { names, output } => return measure(&chosen(&names)?, &output),
        Command::List => {
            for Scenario { name, what, .. } in scenario::ALL {
                println!("{name:<12} {what}");
            }
        }
        Command::Compare { before, after } => {
            print!(
                "{}",
                report::compare(&Report::load(&before)?, &Report::load(&after)?)
            );
        }
        Command::Receiver { options } => receiver::run(&options)?,
        Command::Grow { what } => scenario::grow(&what)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(names: &[String]) -> Result<Vec<Scenario>> {
    let find = |name: &String| match scenario::ALL.iter().find(|known| known.name == name) {
        Some(scenario) => Ok(*scenario),
        None => bail!("no scenario {name:?}; `bellwire-perf list` prints them"),
    };
    names.iter().map(find).collect()
}

/// A target that is missed is a result, not a failure; a scenario that broke off is one.
fn measure(scenarios: &[Scenario], output: &Output) -> Result<ExitCode> {
    let report = Report::run(scenarios, output.quick);
    if let Some(file) = &output.json {
        report.save_json(file)?;
    }
    if let Some(file) = &output.html {
        report.save_page(file)?;
    }
    Ok(match report.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
