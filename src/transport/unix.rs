//! `unix:/path`, with `?format=text` for the text form: UNIX datagrams.
//!
//! Each receiver has a socket connected to it: the kernel serves it faster, and only a connected
//! socket learns when the receiver's queue (10 datagrams by default) has room again. A full queue
//! is no loss: what finds no room waits, in order, bounded in number and time. A receiver that is
//! gone is marked down and tried again, with back-off, at the next event after that; its
//! subscriptions stay until they expire.
//!
//! At most once: a datagram counts as delivered when it lies in the receiver's queue.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Transports;
use super::backlog::Backlog;
use super::datagram;
use super::socket::{Parsed, Place, format_suffix, split_format};
use crate::destination::{Context, Destination, Endpoint, Name, Outlet, Parcel};
use crate::limits::{SEND_BATCH, UNIX_PATH_BYTES};
use crate::os::{Datagrams, To};
use crate::stats::{Outcome, Page, Reason};

/// How long a receiver that is gone is left alone: doubled at each failure. Trying costs a few
/// microseconds and stays on this machine, so the longest is short.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Reads what follows `unix:`.
pub(super) fn parse(transports: &Transports, rest: &str) -> Result<Parsed, String> {
    let (path, format) = split_format(rest)?;
    let path = normal(path)?;
    let key = format!("unix:{path}").into_boxed_str();
    let name = Name::plain(format!("{key}{}", format_suffix(&key, format)));
    let endpoint = Box::new(Unix {
        path: path.into(),
        wait: transports.settings.unix_wait,
        backlog: transports.settings.unix_backlog,
    });
    Ok(Parsed::new(Place::local(key, endpoint), format, Some(name)))
}

/// The path without empty and `.` components.
fn normal(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!(
            "{path:?} is not an absolute path; write unix:/path"
        ));
    }
    if path.contains('\0') {
        return Err("a path cannot hold a NUL".to_owned());
    }
    if path.ends_with('/') {
        return Err(format!("{path:?} names a directory, not a socket"));
    }
    let mut normal = String::with_capacity(path.len());
    for component in path
        .split('/')
        .filter(|component| !matches!(*component, "" | "."))
    {
        normal.push('/');
        normal.push_str(component);
    }
    match normal.len() {
        0 => Err(format!("{path:?} names a directory, not a socket")),
        1..=UNIX_PATH_BYTES => Ok(normal),
        len => Err(format!(
            "the path has {len} bytes; a UNIX socket's has up to {UNIX_PATH_BYTES}"
        )),
    }
}

/// A receiver's path.
#[derive(Debug)]
struct Unix {
    path: PathBuf,
    wait: Duration,
    backlog: usize,
}

impl Endpoint for Unix {
    fn open(&self, destination: &Arc<Destination>, _: &Context<'_>) -> Box<dyn Outlet> {
        Box::new(Receiver {
            path: self.path.clone(),
            destination: Arc::clone(destination),
            link: Link::Closed,
            gathered: Vec::new(),
            backlog: Backlog::new(self.backlog, self.wait),
            retry_in: RETRY_MIN,
        })
    }
}

/// One receiver.
#[derive(Debug)]
struct Receiver {
    path: PathBuf,
    destination: Arc<Destination>,
    link: Link,
    /// Parcels of this batch, to be sent together: up to [`SEND_BATCH`].
    gathered: Vec<Parcel>,
    backlog: Backlog<()>,
    retry_in: Duration,
}

#[derive(Debug)]
enum Link {
    Closed,
    Connected(Box<dyn Datagrams>),
    /// Left alone until then, for this outcome.
    Down(Instant, Outcome),
}

impl Outlet for Receiver {
    fn deliver(&mut self, parcel: Parcel, cx: &Context<'_>) {
        if !self.backlog.is_empty() {
            self.backlog.push(parcel, (), cx.now);
            return;
        }
        self.gathered.push(parcel);
        if self.gathered.len() == SEND_BATCH {
            self.flush(cx);
        }
    }

    fn flush(&mut self, cx: &Context<'_>) {
        let mut gathered = std::mem::take(&mut self.gathered);
        while !gathered.is_empty() {
            let sent = self.send(gathered.iter().map(|parcel| &parcel.payload), cx);
            let (taken, outcome) = match sent {
                Ok(sent) => (sent, Outcome::Delivered),
                Err(error) if datagram::is_full(&error) => {
                    self.wait_for_room();
                    break;
                }
                Err(error) => (1, datagram::failed(&error)),
            };
            for parcel in gathered.drain(..taken) {
                parcel.ticket.settle(outcome);
            }
        }
        for parcel in gathered.drain(..) {
            self.backlog.push(parcel, (), cx.now);
        }
        self.gathered = gathered;
    }

    fn ready(&mut self, cx: &Context<'_>) {
        while !self.backlog.is_empty() {
            let payloads: SmallVec<[Bytes; SEND_BATCH]> = self
                .backlog
                .iter()
                .take(SEND_BATCH)
                .map(|waiting| waiting.parcel.payload.clone())
                .collect();
            let (taken, outcome) = match self.send(payloads.iter(), cx) {
                Ok(sent) => (sent, Outcome::Delivered),
                Err(error) if datagram::is_full(&error) => return self.wait_for_room(),
                Err(error) => (1, datagram::failed(&error)),
            };
            for _ in 0..taken {
                if let Some(parcel) = self.backlog.pop() {
                    parcel.ticket.settle(outcome);
                }
            }
        }
        self.rest();
    }

    fn deadline(&self) -> Option<Instant> {
        self.backlog.deadline()
    }

    fn tick(&mut self, cx: &Context<'_>) {
        self.backlog.drop_late(cx.now);
        self.ready(cx);
    }

    fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        self.backlog.cancel(page, place);
        if self.backlog.is_empty() {
            self.rest();
        }
    }

    fn close(&mut self, reason: Reason) {
        self.backlog.clear(reason);
    }

    fn waiting(&self) -> usize {
        self.backlog.len()
    }
}

impl Receiver {
    /// Sends the first of these; an error is about the very first.
    fn send<'p>(
        &mut self,
        payloads: impl Iterator<Item = &'p Bytes>,
        cx: &Context<'_>,
    ) -> io::Result<usize> {
        let batch: SmallVec<[(To, &Bytes); SEND_BATCH]> =
            payloads.map(|payload| (To::Connected, payload)).collect();
        let fresh = match &self.link {
            Link::Connected(_) => false,
            Link::Down(until, Outcome::Dropped(_, errno)) if cx.now < *until => {
                return Err(io::Error::from_raw_os_error(*errno));
            }
            Link::Down(..) | Link::Closed => {
                self.connect(cx)?;
                true
            }
        };
        match self.send_connected(&batch) {
            // The receiver we were connected to is gone. Another may stand at its path.
            Err(error) if !fresh && is_gone(&error) => {
                self.connect(cx)?;
                self.send_connected(&batch)
            }
            sent => sent,
        }
    }

    /// The receiver's queue is full: be told when it has room.
    fn wait_for_room(&mut self) {
        self.destination.health.blocked();
        if let Link::Connected(socket) = &mut self.link
            && let Err(error) = socket.watch(true)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot watch a UNIX socket");
        }
    }

    /// Nothing waits any more.
    fn rest(&mut self) {
        if let Link::Connected(socket) = &mut self.link {
            self.destination.health.up();
            unwatch(&mut **socket);
        }
    }

    fn send_connected(&self, batch: &[(To, &Bytes)]) -> io::Result<usize> {
        match &self.link {
            Link::Connected(socket) => socket.send(batch),
            Link::Closed | Link::Down(..) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Connects anew; on failure the receiver is down for a while.
    fn connect(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match cx.os.unix_to(&self.path, self.destination.id) {
            Ok(socket) => {
                self.link = Link::Connected(socket);
                self.retry_in = RETRY_MIN;
                self.destination.health.up();
                Ok(())
            }
            Err(error) => {
                self.link = Link::Down(cx.now + self.retry_in, datagram::failed(&error));
                self.retry_in = (self.retry_in * 2).min(RETRY_MAX);
                self.destination
                    .health
                    .down(error.raw_os_error().unwrap_or(0), cx.now_ms);
                Err(error)
            }
        }
    }
}

fn unwatch(socket: &mut dyn Datagrams) {
    if let Err(error) = socket.watch(false) {
        tracing::debug!(%error, "a UNIX socket stays watched");
    }
}

/// Whether the receiver at the other end does not exist any more.
fn is_gone(error: &io::Error) -> bool {
    datagram::reason(error) == Reason::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        assert_eq!(normal("/tmp//a/./b"), Ok("/tmp/a/b".to_owned()));
        for path in ["", "a", "/", "//", "/.", "/a/", "/a\0b"] {
            assert!(normal(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_path_must_fit_its_address() {
        let fits = format!("/{}", "a".repeat(UNIX_PATH_BYTES - 1));
        assert!(normal(&fits).is_ok());
        assert!(normal(&format!("{fits}a")).is_err());
    }
}
