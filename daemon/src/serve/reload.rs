//! What a new configuration changes while the daemon runs: all of it, or nothing.

use std::collections::{HashMap, HashSet};
use std::fmt;

use bellwire::engine::SubscribeError;
use bellwire::{Expire, Handle, transport};

use super::Source;
use crate::failure::Failure;
use crate::settings::{OnUnknown, Settings};

/// What was changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    declared: usize,
    added: usize,
    ended: usize,
    /// The event routes of a script that was loaded.
    routes: Option<usize>,
    /// Tables that differ and cannot take effect before the next start.
    later: Vec<&'static str>,
}

impl Change {
    /// A script with so many event routes was loaded, if one was.
    pub(super) fn script(&mut self, routes: Option<usize>) {
        self.routes = routes;
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events declared, {} subscriptions made, {} ended",
            self.declared, self.added, self.ended
        )?;
        if let Some(routes) = self.routes {
            write!(f, "; script loaded, event routes: {routes}")?;
        }
        match self.later.is_empty() {
            true => Ok(()),
            false => write!(
                f,
                "; takes effect at the next start: {}",
                self.later.join(", ")
            ),
        }
    }
}

/// Whether an event and a socket are somebody else's subscription, too, so that it stays.
pub(super) type Owns<'a> = dyn Fn(&str, &str) -> bool + 'a;

/// Makes an engine that runs on `old` run on `new`.
///
/// # Errors
///
/// A subscription cannot be made. Everything is as before then, but for names that were declared:
/// an event that nobody raises does no harm.
pub(super) fn apply(
    handle: &Handle,
    old: &Settings,
    new: &Settings,
    source: &Source,
    owns: &Owns<'_>,
) -> Result<Change, Failure> {
    let mut change = Change {
        later: later(old, new),
        ..Change::default()
    };
    handle.set_policy(transport::Policy::from(&new.policy));
    let before = handle.events().len();
    let outcome = declare(handle, new).and_then(|()| subscribe(handle, old, new, source, owns));
    change.declared = handle.events().len() - before;
    match outcome {
        Ok(added) => change.added = added,
        Err(failure) => {
            handle.set_policy(transport::Policy::from(&old.policy));
            return Err(failure);
        }
    }
    for ended in handle.enforce_policy() {
        tracing::warn!(
            "{} {}: ended, the policy forbids it",
            ended.event,
            ended.socket
        );
        change.ended += 1;
    }
    let kept: HashSet<_> = keys(new).collect();
    let is_over = |key: &Key<'_>| !kept.contains(key) && !owns(key.0, key.1);
    for (event, socket) in keys(old).filter(is_over) {
        match handle.unsubscribe(event, socket) {
            Ok(true) => change.ended += 1,
            // It had expired, or a client had ended it.
            Ok(false) => {}
            Err(error) => tracing::warn!("{event} {}: {error}", transport::without_secrets(socket)),
        }
    }
    Ok(change)
}

/// Declares what the settings declare.
pub(super) fn declare(handle: &Handle, settings: &Settings) -> Result<(), Failure> {
    let mut names: Vec<_> = settings
        .events
        .declare
        .iter()
        .map(|name| name.as_str())
        .collect();
    if settings.events.on_unknown == OnUnknown::Declare {
        names.extend(keys(settings).map(|(event, _)| event));
    }
    for name in names {
        let declared = handle.declare(name);
        declared.map_err(|error| Failure::new(format!("event {name}: {error}")))?;
    }
    Ok(())
}

/// Makes the subscriptions of `new`, refreshing those it shares with `old`; says how many are
/// new. If one fails, those made before it are ended again.
pub(super) fn subscribe(
    handle: &Handle,
    old: &Settings,
    new: &Settings,
    source: &Source,
    owns: &Owns<'_>,
) -> Result<usize, Failure> {
    let before: HashMap<_, _> = subscriptions(old).collect();
    let mut made = Vec::new();
    for item in &new.subscribe {
        let (key, expire) = subscription(item);
        let Err(error) = handle.subscribe(key.0, key.1, expire) else {
            made.push(key);
            continue;
        };
        for key in made.into_iter().filter(|key| !owns(key.0, key.1)) {
            undo(handle, key, before.get(&key).copied());
        }
        return Err(refusal(handle, item, source, &error));
    }
    Ok(made.iter().filter(|key| !before.contains_key(*key)).count())
}

/// Whether the subscriptions could be made, as far as that can be told without asking a name
/// server.
pub(super) fn check(handle: &Handle, settings: &Settings, source: &Source) -> Result<(), Failure> {
    for item in &settings.subscribe {
        let checked = match handle.event(&item.event) {
            None => Err(SubscribeError::UnknownEvent(item.event.clone())),
            Some(_) => handle.check_socket(&item.socket).map_err(Into::into),
        };
        checked.map_err(|error| refusal(handle, item, source, &error))?;
    }
    Ok(())
}

/// Says which line of the file cannot be, and why.
fn refusal(
    handle: &Handle,
    item: &crate::settings::Subscribe,
    source: &Source,
    error: &SubscribeError,
) -> Failure {
    let known = handle.events();
    let known: Vec<_> = known.iter().map(|event| event.name().as_str()).collect();
    let hint = match handle.event(&item.event) {
        Some(_) => String::new(),
        None => hint(&item.event, &known),
    };
    Failure::new(format!("{}: {error}{hint}", source.line(item.line)))
}

type Key<'a> = (&'a str, &'a str);

fn subscription(settings: &crate::settings::Subscribe) -> (Key<'_>, Expire) {
    let expire = settings.expire.map_or(Expire::never(), Expire::after_secs);
    ((settings.event.as_str(), settings.socket.as_str()), expire)
}

fn subscriptions(settings: &Settings) -> impl Iterator<Item = (Key<'_>, Expire)> {
    settings.subscribe.iter().map(subscription)
}

fn keys(settings: &Settings) -> impl Iterator<Item = Key<'_>> {
    subscriptions(settings).map(|(key, _)| key)
}

fn undo(handle: &Handle, (event, socket): Key<'_>, before: Option<Expire>) {
    let undone = match before {
        Some(expire) => handle.subscribe(event, socket, expire),
        None => handle.unsubscribe(event, socket).map(|_| ()),
    };
    if let Err(error) = undone {
        tracing::warn!("{event} {}: {error}", transport::without_secrets(socket));
    }
}

fn hint(event: &str, known: &[&str]) -> String {
    match crate::settings::likeliest(event, known) {
        Some(name) => format!("; did you mean {name}? Else name it in [events] declare"),
        None => "; name it in [events] declare".to_owned(),
    }
}

/// The tables that differ and are read at the start only.
fn later(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let mut tables = Vec::new();
    let mut note = |differs: bool, table| {
        if differs {
            tables.push(table);
        }
    };
    note(old.node != new.node, "node");
    note(old.mi.http != new.mi.http, "[mi.http]");
    note(old.mi.fifo != new.mi.fifo, "[mi.fifo]");
    note(old.mi.datagram != new.mi.datagram, "[mi.datagram]");
    note(old.ingest != new.ingest, "[ingest]");
    note(old.limits != new.limits, "[limits]");
    note(old.tcp != new.tcp, "[tcp]");
    note(old.queue != new.queue, "[queue]");
    note(old.flatstore != new.flatstore, "[flatstore]");
    note(old.xmlrpc != new.xmlrpc, "[xmlrpc]");
    note(old.rabbitmq != new.rabbitmq, "[rabbitmq]");
    note(
        old.events.on_unknown != new.events.on_unknown,
        "[events] on_unknown",
    );
    tables
}
