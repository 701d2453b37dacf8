//! What is asked of a running daemon, a file a command.

mod config;
mod events;
mod raise;
mod stats;
mod subscribe;
pub(crate) mod subscribers;

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use self::config::config;
pub(crate) use self::events::events;
pub(crate) use self::raise::raise;
pub(crate) use self::stats::stats;
pub(crate) use self::subscribe::{subscribe, unsubscribe};
pub(crate) use self::subscribers::subscribers;
use crate::failure::Failure;

/// Prints a result as the JSON text that it is.
fn print_json(result: &RawValue) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", result.get())?;
    Ok(())
}

/// Reads a result into what the command knows how to show.
fn read<'a, T: Deserialize<'a>>(result: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(result.get()).map_err(|error| {
        Failure::new(format!(
            "the answer has another form than expected: {error}"
        ))
    })
}
