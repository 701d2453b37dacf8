//! `bellwire events`: the events there are.

use std::io;

use bellwire::event::catalogue;
use serde::Deserialize;

use super::{print_json, read};
use crate::args;
use crate::failure::Failure;
use crate::table::Table;

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "Events")]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    name: String,
    id: u32,
}

/// Lists the daemon's events, with what is known of them.
pub(crate) fn events(args: &args::Events) -> Result<(), Failure> {
    let result = args.asking.client().call("events_list", [(); 0])?;
    if args.asking.json {
        return print_json(&result);
    }
    let listing: Listing = read(&result)?;
    let mut table = Table::new(&["ID", "EVENT", "PARAMETERS"]);
    for Event { name, id } in listing.events {
        let signature = catalogue::find(&name)
            .map(ToString::to_string)
            .unwrap_or_default();
        let params = signature.strip_prefix(&name).unwrap_or_default().to_owned();
        table.row(vec![id.to_string(), name, params]);
    }
    table.print(&mut io::stdout().lock())?;
    Ok(())
}
