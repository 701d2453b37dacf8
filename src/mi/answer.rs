//! What commands answer, in the shape of JSON and of the old text.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde::ser::Serializer;

use super::counts::Counts;
use crate::registry::Expire;
use crate::registry::Subscription;

/// The result of a command that did not fail.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Done; nothing to tell.
    Ok,
    /// Named facts, in this order.
    Facts(Vec<(String, Fact)>),
    /// A list of names.
    Names(Vec<&'static str>),
    /// The recipes of one command.
    Recipes(&'static [&'static [&'static str]]),
    /// Events, without their subscribers.
    Events(Vec<Listed>),
    /// Events and their subscribers.
    Subscribers(Vec<Listed>),
    /// One event and its subscribers; `None` if it has none.
    SubscribersOf(Option<Listed>),
    /// One event and one of its subscribers.
    Subscriber(Listed),
}

/// A text or a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Fact {
    Text(String),
    Number(u64),
}

/// An event as listings show it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Whether its subscribers are shown with their counters, which OpenSIPS does not have.
    pub(crate) counted: bool,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ok => serializer.serialize_str("OK"),
            Self::Facts(facts) => {
                serializer.collect_map(facts.iter().map(|(name, fact)| (name, fact)))
            }
            Self::Names(names) => serializer.collect_seq(names),
            Self::Recipes(recipes) => serializer.collect_seq(*recipes),
            Self::Events(events) => one_member(serializer, "Events", &List(events, Bare)),
            Self::Subscribers(events) => one_member(serializer, "Events", &List(events, Full)),
            Self::SubscribersOf(Some(event)) => one_member(serializer, "Event", &Full(event)),
            Self::SubscribersOf(None) => one_member(serializer, "Event", &Nobody {}),
            Self::Subscriber(event) => one_member(serializer, "Event", &Single(event)),
        }
    }
}

fn one_member<S: Serializer>(
    serializer: S,
    key: &'static str,
    value: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(1))?;
    object.serialize_entry(key, value)?;
    object.end()
}

/// Events, each shown in one way.
struct List<'a, W>(&'a [Listed], fn(&'a Listed) -> W);

impl<W: Serialize> Serialize for List<'_, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

#[derive(Serialize)]
struct Nobody {}

/// An event with its name and number only.
struct Bare<'a>(&'a Listed);

impl Serialize for Bare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("name", &self.0.name)?;
        object.serialize_entry("id", &self.0.id)?;
        object.end()
    }
}

/// An event with all its subscribers.
struct Full<'a>(&'a Listed);

impl Serialize for Full<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let subscribers: Vec<_> = self.0.lines().collect();
        let mut object = serializer.serialize_map(Some(3))?;
        object.serialize_entry("name", &self.0.name)?;
        object.serialize_entry("id", &self.0.id)?;
        object.serialize_entry("Subscribers", &subscribers)?;
        object.end()
    }
}

/// An event with the one subscriber that was asked for.
struct Single<'a>(&'a Listed);

impl Serialize for Single<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(3))?;
        object.serialize_entry("name", &self.0.name)?;
        object.serialize_entry("id", &self.0.id)?;
        if let Some(line) = self.0.lines().next() {
            object.serialize_entry("Subscriber", &line)?;
        }
        object.end()
    }
}

/// A subscriber's line.
#[derive(Serialize)]
struct Line<'a> {
    socket: &'a str,
    expire: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Seconds>,
    #[serde(flatten)]
    counts: Option<Counts>,
}

/// A number of seconds, or the word that stands for none.
#[derive(Serialize)]
#[serde(untagged)]
enum Seconds {
    Number(u32),
    Word(&'static str),
}

impl<'a> Line<'a> {
    fn new(subscription: &'a Subscription, counted: bool) -> Self {
        let expire = match subscription.expire {
            Expire::AfterSecs(secs) => Seconds::Number(secs),
            Expire::Never => Seconds::Word("never"),
        };
        let ttl = subscription.ttl_secs.map(|secs| match secs {
            0 => Seconds::Word("expired"),
            secs => Seconds::Number(secs),
        });
        Self {
            socket: &subscription.socket,
            expire,
            ttl,
            counts: counted.then(|| Counts::of(subscription)),
        }
    }
}

impl Answer {
    /// The lines of the 1.x text, each closed by a newline. One node a line; children one tab in.
    pub(crate) fn write_text(&self, out: &mut String) {
        match self {
            Self::Ok | Self::SubscribersOf(None) => {}
            Self::Facts(facts) => {
                for (name, fact) in facts {
                    let value = match fact {
                        Fact::Text(text) => text.clone(),
                        Fact::Number(number) => number.to_string(),
                    };
                    out.push_str(&format!("{name}:: {value}\n"));
                }
            }
            Self::Names(names) => {
                for name in names {
                    out.push_str(&format!("{name}\n"));
                }
            }
            Self::Recipes(recipes) => {
                for recipe in *recipes {
                    out.push_str(&format!("{}\n", recipe.join(" ")));
                }
            }
            Self::Events(events) | Self::Subscribers(events) => {
                for event in events {
                    event.write_text(out);
                }
            }
            Self::SubscribersOf(Some(event)) | Self::Subscriber(event) => event.write_text(out),
        }
    }
}

impl Listed {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.subscriptions
            .iter()
            .map(|subscription| Line::new(subscription, self.counted))
    }

    fn write_text(&self, out: &mut String) {
        out.push_str(&format!("Event:: {} id={}\n", self.name, self.id));
        for subscription in &self.subscriptions {
            // The node's own value is empty: one blank closes `::`, one opens the attribute.
            out.push_str(&format!("\tSubscriber::  socket={}", subscription.socket));
            match subscription.expire {
                Expire::AfterSecs(secs) => out.push_str(&format!(" expire={secs}")),
                Expire::Never => out.push_str(" expire=never"),
            }
            if self.counted {
                Counts::of(subscription).write_text(out);
            }
            out.push('\n');
        }
    }
}
