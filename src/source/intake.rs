//! What becomes of one datagram: read, checked, raised, counted.

#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::engine::Event;
use crate::engine::Handle;
use crate::engine::Raised;
use crate::limits;
use crate::stats::Reason;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use crate::wire::parse;

/// What an ingest took: a plain copy. Each datagram is in `received` and in exactly one other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestStats {
    /// Datagrams.
    pub received: u64,
    /// Raised: on the way to their subscribers.
    pub raised: u64,
    /// Good, and nobody listens.
    pub unheard: u64,
    /// Dropped by the engine, which counts them by reason.
    pub dropped: u64,
    /// Not a JSON-RPC notification.
    pub bad_json: u64,
    /// Not the text of 1.x either.
    pub bad_text: u64,
    /// Events that nobody declared, or that cannot be.
    pub unknown: u64,
    /// Longer than [`limits::PAYLOAD_BYTES`].
    pub too_big: u64,
    /// From a broker, and here before: the path in its header says so, or cannot be read.
    pub looped: u64,
}

impl IngestStats {
    /// The names and values, for the management interface.
    pub(super) fn list(self) -> Vec<(String, u64)> {
        [
            ("ingest:received", self.received),
            ("ingest:raised", self.raised),
            ("ingest:unheard", self.unheard),
            ("ingest:dropped", self.dropped),
            ("ingest:bad_json", self.bad_json),
            ("ingest:bad_text", self.bad_text),
            ("ingest:unknown", self.unknown),
            ("ingest:too_big", self.too_big),
            ("ingest:looped", self.looped),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// The counters behind [`IngestStats`]; only the ingest's threads write them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: AtomicU64,
    raised: AtomicU64,
    unheard: AtomicU64,
    dropped: AtomicU64,
    bad_json: AtomicU64,
    bad_text: AtomicU64,
    unknown: AtomicU64,
    too_big: AtomicU64,
    looped: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> IngestStats {
        IngestStats {
            received: self.received.load(Relaxed),
            raised: self.raised.load(Relaxed),
            unheard: self.unheard.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            bad_json: self.bad_json.load(Relaxed),
            bad_text: self.bad_text.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            too_big: self.too_big.load(Relaxed),
            looped: self.looped.load(Relaxed),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Why an event was not raised.
#[derive(Debug)]
pub(super) struct NotTaken {
    pub(super) why: String,
    /// Whether it would be the same at another time: nobody can make anything of it.
    #[cfg_attr(not(feature = "rabbitmq"), allow(dead_code))]
    pub(super) is_poison: bool,
}

impl NotTaken {
    fn poison(why: String) -> Self {
        Self {
            why,
            is_poison: true,
        }
    }

    fn here(why: String) -> Self {
        Self {
            why,
            is_poison: false,
        }
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The text of 1.x with the empty line at its end, which messages of brokers had not: they begin
/// their lines with it.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
fn closed(payload: &[u8]) -> Cow<'_, [u8]> {
    match payload.first() {
        Some(b'{' | b'[') | None => payload.into(),
        Some(_) if payload.ends_with(b"\n\n") => payload.into(),
        Some(_) => [payload, b"\n\n"].concat().into(),
    }
}

/// Reads datagrams and raises them.
#[derive(Debug)]
pub(super) struct Intake {
    handle: Handle,
    declare_unknown: bool,
    counters: Arc<Counters>,
    /// Events met so far. Events are never forgotten, so neither do these grow stale, and there
    /// are no more than the engine takes.
    known: HashMap<String, Event>,
    /// Whether the engine has begun to shut down.
    is_over: bool,
}

impl Intake {
    pub(super) fn new(handle: Handle, declare_unknown: bool, counters: Arc<Counters>) -> Self {
        Self {
            handle,
            declare_unknown,
            counters,
            known: HashMap::new(),
            is_over: false,
        }
    }

    /// Raises what the datagram holds, or says why not.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<(), NotTaken> {
        count(&self.counters.received);
        if datagram.len() > limits::PAYLOAD_BYTES {
            count(&self.counters.too_big);
            let why = format!("longer than {} bytes", limits::PAYLOAD_BYTES);
            return Err(NotTaken::poison(why));
        }
        let repaired = parse::repair(datagram);
        let payload = repaired.trim_ascii();
        let is_json = matches!(payload.first(), Some(b'{' | b'['));
        let raised = if is_json {
            self.take_json(payload)
        } else {
            self.take_text(&repaired)
        }
        .map_err(NotTaken::poison)?;
        count(match raised {
            Raised::Queued => &self.counters.raised,
            Raised::Unheard => &self.counters.unheard,
            Raised::Dropped(_) => &self.counters.dropped,
        });
        self.is_over |= raised == Raised::Dropped(Reason::Shutdown);
        match raised {
            Raised::Dropped(reason) => Err(NotTaken::here(format!("dropped: {}", reason.name()))),
            Raised::Queued | Raised::Unheard => Ok(()),
        }
    }

    /// Whether the engine has begun to shut down: what it did not take is not ours to confirm.
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The same for what came from a broker with that path in its header, unless it was here
    /// before.
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(super) fn take_from(
        &mut self,
        path: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<(), NotTaken> {
        match self.handle.origins().enter(path) {
            Ok(origin) => {
                let payload = closed(payload);
                crate::origin::within(origin, || self.take(&payload))
            }
            Err(why) => {
                count(&self.counters.received);
                count(&self.counters.looped);
                Err(NotTaken::here(why.to_string()))
            }
        }
    }

    fn take_json(&mut self, payload: &[u8]) -> Result<Raised, String> {
        let notification = parse::jsonrpc(payload).map_err(|error| {
            count(&self.counters.bad_json);
            error.to_string()
        })?;
        let event = self.event(&notification.method)?;
        Ok(event.raise_payload(payload))
    }

    fn take_text(&mut self, text: &[u8]) -> Result<Raised, String> {
        let notification = parse::text(text).map_err(|error| {
            count(&self.counters.bad_text);
            error.to_string()
        })?;
        let event = self.event(&notification.method)?;
        Ok(event.raise(|params| notification.write_params(params)))
    }

    fn event(&mut self, name: &str) -> Result<Event, String> {
        if let Some(event) = self.known.get(name) {
            return Ok(event.clone());
        }
        let found = match self.handle.event(name) {
            Some(event) => Ok(event),
            None if self.declare_unknown => {
                self.handle.declare(name).map_err(|error| error.to_string())
            }
            None => Err(format!("unknown event {name:?}: declare it first")),
        };
        match found {
            Ok(event) => {
                self.known.insert(name.to_string(), event.clone());
                Ok(event)
            }
            Err(why) => {
                count(&self.counters.unknown);
                Err(why)
            }
        }
    }
}
