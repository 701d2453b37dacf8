//! `bellwire subscribe` and `bellwire unsubscribe`.

use std::io::{self, Write};

use bellwire::limits::DEFAULT_EXPIRE_SECS;
use bellwire::transport::without_secrets;
use serde_json::json;

use super::print_json;
use crate::args;
use crate::failure::Failure;

/// Makes or refreshes a subscription.
pub(crate) fn subscribe(args: &args::Subscribe) -> Result<(), Failure> {
    let (event, socket) = (args.event.as_str(), &args.socket);
    let params = match args.expire {
        Some(secs) => json!([event, socket, secs]),
        None => json!([event, socket]),
    };
    let result = args.asking.client().call("event_subscribe", params)?;
    if args.asking.json {
        return print_json(&result);
    }
    let secs = args.expire.unwrap_or(DEFAULT_EXPIRE_SECS.into());
    let shown = without_secrets(socket);
    writeln!(io::stdout(), "{shown} hears of {event} for {secs} s")?;
    Ok(())
}

/// Ends a subscription at once.
pub(crate) fn unsubscribe(args: &args::Unsubscribe) -> Result<(), Failure> {
    let (event, socket) = (args.event.as_str(), &args.socket);
    let result = args
        .asking
        .client()
        .call("event_subscribe", json!([event, socket, 0]))?;
    if args.asking.json {
        return print_json(&result);
    }
    let shown = without_secrets(socket);
    writeln!(io::stdout(), "{shown} hears of {event} no more")?;
    Ok(())
}
