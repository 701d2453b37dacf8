//! `bellwire subscribers`: who is subscribed, and what became of their events.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::Deserialize;
use serde_json::Value;

use super::{print_json, read};
use crate::args;
use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::table::Table;

/// The listing of OpenSIPS.
const PLAIN: &str = "subscribers_list";
/// The same with counters: ours.
const VERBOSE: &str = "evi:subscriptions";

/// Lists the subscribers of all events, of one, or one of one.
pub(crate) fn subscribers(args: &args::Subscribers) -> Result<(), Failure> {
    let method = if args.verbose { VERBOSE } else { PLAIN };
    let mut params = Vec::new();
    params.extend(args.event.as_ref().map(|event| Value::from(event.as_str())));
    params.extend(args.socket.as_deref().map(Value::from));
    let result = args.asking.client().call(method, params)?;
    if args.asking.json {
        return print_json(&result);
    }
    let listing: Listing = read(&result)?;
    listing
        .table(args.verbose)
        .print(&mut io::stdout().lock())?;
    Ok(())
}

/// What became of the events of one subscriber.
pub(crate) fn of(client: &Client, event: &str, socket: &str) -> Result<Option<Fate>, CallError> {
    let result = client.call(VERBOSE, [event, socket])?;
    let listing: Option<Listing> = serde_json::from_str(result.get()).ok();
    Ok(listing.and_then(|listing| listing.event?.subscriber?.fate))
}

/// Any of the three forms of the answer.
#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "Events", default)]
    events: Vec<Event>,
    #[serde(rename = "Event")]
    event: Option<Event>,
}

/// An event; without a name if nobody is subscribed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    name: String,
    #[serde(rename = "Subscribers")]
    subscribers: Vec<Subscriber>,
    #[serde(rename = "Subscriber")]
    subscriber: Option<Subscriber>,
}

#[derive(Deserialize)]
struct Subscriber {
    /// A subscription can have a protocol in place of a socket.
    #[serde(alias = "protocol")]
    socket: String,
    expire: Seconds,
    ttl: Option<Seconds>,
    #[serde(flatten)]
    fate: Option<Fate>,
}

/// What became of the events that one subscriber should have had.
#[derive(Debug, Deserialize)]
pub(crate) struct Fate {
    pub(crate) matched: u64,
    pub(crate) delivered: u64,
    /// By reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) in_flight: u64,
    /// How its destination does: `up`, `blocked`, or `down` and why.
    state: String,
    /// Of a group.
    #[serde(default)]
    members: Vec<Member>,
}

/// One member of a group.
#[derive(Debug, Deserialize)]
struct Member {
    socket: String,
    #[serde(flatten)]
    fate: Fate,
    /// For how many more seconds it gets nothing, because it failed.
    held: Option<u64>,
}

/// A number of seconds, or a word that stands for none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Word(String),
}

impl Listing {
    fn table(self, verbose: bool) -> Table {
        let mut heading = vec!["EVENT", "SOCKET", "EXPIRE", "TTL"];
        if verbose {
            heading.extend(["MATCHED", "DELIVERED", "DROPPED", "WAITING", "STATE"]);
        }
        let mut table = Table::new(&heading);
        for event in self.events.into_iter().chain(self.event) {
            for subscriber in event.subscribers.into_iter().chain(event.subscriber) {
                let members = subscriber.members(verbose);
                table.row(subscriber.cells(&event.name, verbose));
                members.into_iter().for_each(|cells| table.row(cells));
            }
        }
        table
    }
}

impl Subscriber {
    /// The rows of the members, beneath the group's.
    fn members(&self, verbose: bool) -> Vec<Vec<String>> {
        let members = self.fate.as_ref().map_or(&[][..], |fate| &fate.members);
        let members = members.iter().filter(|_| verbose);
        let row = |member: &Member| {
            let held = member
                .held
                .map_or(String::new(), |held| format!(", left alone for {held} s"));
            let mut cells = vec![String::new(), format!("  {}", member.socket)];
            cells.extend([(); 2].map(|()| String::new()));
            cells.extend(member.fate.cells());
            cells.last_mut().expect("the state").push_str(&held);
            cells
        };
        members.map(row).collect()
    }

    fn cells(self, event: &str, verbose: bool) -> Vec<String> {
        let ttl = self.ttl.map_or(String::new(), |ttl| ttl.to_string());
        let mut cells = vec![event.to_owned(), self.socket, self.expire.to_string(), ttl];
        match self.fate {
            Some(fate) if verbose => cells.extend(fate.cells()),
            None if verbose => cells.extend([(); 5].map(|()| String::new())),
            _ => {}
        }
        cells
    }
}

impl Fate {
    fn cells(&self) -> [String; 5] {
        [
            self.matched.to_string(),
            self.delivered.to_string(),
            self.losses(),
            self.in_flight.to_string(),
            self.state.clone(),
        ]
    }

    /// How many were dropped, and why: `3 (2 refused, 1 too_big)`.
    pub(crate) fn losses(&self) -> String {
        let total: u64 = self.dropped.values().sum();
        let reasons: Vec<_> = self
            .dropped
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        match reasons.len() {
            0 => total.to_string(),
            _ => format!("{total} ({})", reasons.join(", ")),
        }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, verbose: bool) -> String {
        let mut out = Vec::new();
        let listing: Listing = serde_json::from_str(json).unwrap();
        listing.table(verbose).print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_forms_of_the_listing_are_shown() {
        let one = r#"{"socket":"udp:127.0.0.1:9","expire":60,"ttl":5}"#;
        let forms = [
            format!(r#"{{"Events":[{{"name":"E_A","id":1,"Subscribers":[{one}]}}]}}"#),
            format!(r#"{{"Event":{{"name":"E_A","id":1,"Subscribers":[{one}]}}}}"#),
            format!(r#"{{"Event":{{"name":"E_A","id":1,"Subscriber":{one}}}}}"#),
        ];
        for form in forms {
            let heading = "EVENT  SOCKET           EXPIRE  TTL";
            let line = "E_A    udp:127.0.0.1:9      60    5";
            assert_eq!(shown(&form, false), format!("{heading}\n{line}\n"));
        }
        for empty in [r#"{"Events":[]}"#, r#"{"Event":{}}"#] {
            assert_eq!(shown(empty, false), "EVENT  SOCKET  EXPIRE  TTL\n");
        }
        let words = r#"{"Event":{"name":"E","id":1,
            "Subscribers":[{"protocol":"route","expire":"never"}]}}"#;
        assert!(
            shown(words, true)
                .lines()
                .nth(1)
                .unwrap()
                .ends_with("never")
        );
    }

    #[test]
    fn losses_name_their_reasons() {
        let json = r#"{"Event":{"name":"E","id":1,"Subscriber":{
            "socket":"unix:/x","expire":9,"ttl":9,"matched":9,"delivered":6,
            "dropped":{"refused":2,"too_big":1,"other":0},"in_flight":0,"state":"up"}}}"#;
        assert!(shown(json, true).contains("3 (2 refused, 1 too_big)"));
    }

    #[test]
    fn the_members_of_a_group_stand_beneath_it() {
        let json = r#"{"Event":{"name":"E","id":1,"Subscriber":{
            "socket":"virtual:FAILOVER udp:1 udp:2","expire":"never","matched":9,"delivered":9,
            "dropped":{},"in_flight":0,"state":"up","members":[
                {"socket":"udp:1","matched":9,"delivered":5,"dropped":{"refused":4},"in_flight":0,
                 "state":"down for 3 s: refused","held":27},
                {"socket":"udp:2","matched":4,"delivered":4,"dropped":{},"in_flight":0,
                 "state":"up"}]}}}"#;
        let table = shown(json, true);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[2].trim_start().starts_with("udp:1 "), "{table}");
        assert!(lines[2].ends_with("down for 3 s: refused, left alone for 27 s"));
        assert!(lines[3].trim_start().starts_with("udp:2 "), "{table}");
        assert_eq!(shown(json, false).lines().count(), 2);
    }
}
