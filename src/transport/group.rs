//! `virtual:PARALLEL|FAILOVER|ROUND-ROBIN socket socket …`: several destinations as one.
//!
//! The members are read here, all of them, when somebody subscribes; the reactor shares the
//! events among them. A group is no member of another.

use super::Transports;
use super::socket::{Parsed, Place};
use crate::destination::{Format, Name, Strategy};
use crate::limits::GROUP_MEMBERS;

/// Reads what follows `virtual:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let strategy = words.next().unwrap_or_default();
    let Some(&(spelt, strategy)) = Strategy::ALL.iter().find(|(name, _)| *name == strategy) else {
        return Err(format!(
            "{strategy:?} is no way to share events; write virtual:PARALLEL, virtual:FAILOVER or \
             virtual:ROUND-ROBIN, then sockets"
        ));
    };
    let mut members = Vec::new();
    let mut identity = format!("virtual:{spelt}");
    let mut printed = identity.clone();
    for word in words {
        if members.len() == GROUP_MEMBERS {
            return Err(format!("more than {GROUP_MEMBERS} members"));
        }
        let member = member(transports, word)?;
        let name = member.name();
        identity.extend([" ", &*name.identity]);
        printed.extend([" ", &*name.printed]);
        members.push(member);
    }
    if members.is_empty() {
        return Err(format!("no members; write virtual:{spelt} socket socket …"));
    }
    let name = Name {
        identity: identity.into(),
        printed: printed.into(),
    };
    let place = Place::Group {
        key: name.identity.clone(),
        strategy,
        members,
    };
    Ok(Parsed::new(place, Format::Json, Some(name)))
}

fn member(transports: &Transports, text: &str) -> Result<Parsed, String> {
    if text.starts_with("virtual:") {
        return Err("a group cannot be a member of another".to_owned());
    }
    transports
        .parse(text)
        .map_err(|error| format!("member {error}"))
}
