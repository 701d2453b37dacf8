//! `bellwire config`: is this file right, and what does it come to?

use std::io::{self, Write};

use crate::args;
use crate::failure::Failure;
use crate::{serve, settings};

/// Prints what holds when the daemon runs on this file.
pub(crate) fn config(args: &args::Config) -> Result<(), Failure> {
    let settings = serve::check(args.config.as_ref())?;
    let text = settings::print(&settings)?;
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
