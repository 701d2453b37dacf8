//! `bellwire config`: is this file right, and what does it come to?

use std::io::{self, Write};

use crate::args;
use crate::failure::Failure;
use crate::settings;

/// Prints what holds when the daemon runs on this file.
pub(crate) fn config(args: &args::Config) -> Result<(), Failure> {
    let settings = settings::load(args.config.as_deref())?;
    let text = settings::print(&settings)?;
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
