//! `udp:host:port` and `udp:[v6]:port`, with `?format=text` for the text form.
//!
//! One unconnected socket a family sends for all subscriptions, many datagrams a system call
//! (`sendmmsg`). A run of datagrams to one destination goes through a socket connected to it,
//! which the kernel serves faster; where they are equal in size, as one buffer that the kernel
//! cuts (UDP GSO, Linux 4.18).
//!
//! At most once: a datagram counts as delivered when the kernel took it.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::backlog::Backlog;
use super::datagram;
use super::socket::{At, Parsed, Place, host_and_port, split_format};
use super::{Transports, socket};
use crate::destination::{Context, Manner, Name, Parcel};
use crate::limits::{SEND_BATCH, UDP_CONNECTED, UDP_PAYLOAD_BYTES, UDP_STALLED};
use crate::origin::Origin;
use crate::os::{Datagrams, Os, To};
use crate::stats::{self, Outcome, Page, Reason, Ticket, Totals};

/// Datagrams in a row to one destination from which a socket of its own pays.
const RUN: usize = 8;
/// Datagrams the kernel cuts from one buffer (`UDP_MAX_SEGMENTS`).
const SEGMENTS: usize = 64;
/// Largest datagram that is cut so: larger ones may not fit the path's MTU, and a segment is
/// never fragmented.
const SEGMENT_BYTES: usize = 1400;
/// How long datagrams wait when the send buffer is full, and when it is tried again.
const STALLED_WAIT: Duration = Duration::from_secs(1);
const STALLED_RETRY: Duration = Duration::from_millis(1);

/// Reads what follows `udp:`.
pub(super) fn parse(_: &Transports, rest: &str) -> Result<Parsed, String> {
    let (rest, format) = split_format(rest)?;
    let at = host_and_port(rest)?;
    let name = match &at {
        At::Host { .. } => {
            let at = format!("udp:{at}");
            let suffix = socket::format_suffix(&at, format);
            Some(Name::plain(format!("{at}{suffix}")))
        }
        At::Address(_) => None,
    };
    Ok(Parsed::new(Place::At(at), format, name))
}

/// One datagram to send, and where to count what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) payload: &'a Bytes,
    pub(crate) totals: &'a Arc<Totals>,
    pub(crate) page: &'a Arc<Page>,
    pub(crate) place: u8,
}

impl Letter<'_> {
    fn count(&self, outcome: Outcome) {
        let tally = self.page.tally(self.place);
        self.totals.matched.add(1);
        tally.matched.add(1);
        stats::count(outcome, self.totals, tally);
    }

    fn is_too_big(&self) -> bool {
        self.payload.len() > UDP_PAYLOAD_BYTES
    }
}

/// Sends for all UDP subscriptions.
#[derive(Debug)]
pub(crate) struct Udp {
    v4: Option<Box<dyn Datagrams>>,
    v6: Option<Box<dyn Datagrams>>,
    connected: HashMap<SocketAddr, Peer>,
    /// What the kernel had no room for. While anything waits here, all else waits behind it.
    stalled: Backlog<SocketAddr>,
    /// When to try again. Nobody watches these sockets: one has room after each datagram.
    retry_at: Option<Instant>,
}

/// A socket connected to a destination.
#[derive(Debug)]
struct Peer {
    socket: Box<dyn Datagrams>,
    /// Whether the kernel cuts buffers on the way there: it does not fragment what it cuts, so
    /// a path of small MTU says no.
    cuts: bool,
}

impl Udp {
    /// Opens the unconnected sockets.
    pub(crate) fn open(os: &dyn Os) -> io::Result<Self> {
        let v4 = os.udp((Ipv4Addr::UNSPECIFIED, 0).into());
        // A host without IPv6 is no reason not to start.
        let v6 = os.udp((Ipv6Addr::UNSPECIFIED, 0).into());
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(error),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        Ok(Self {
            v4,
            v6,
            connected: HashMap::new(),
            stalled: Backlog::new(UDP_STALLED, STALLED_WAIT),
            retry_at: None,
        })
    }

    /// Sends the letters in order, and counts each.
    pub(crate) fn send(&mut self, letters: &[Letter<'_>], cx: &Context<'_>) {
        let mut rest = letters;
        while let Some(first) = rest.first() {
            let taken = if !self.stalled.is_empty() {
                self.stall(rest, cx)
            } else if first.is_too_big() {
                first.count(Outcome::Dropped(Reason::TooBig, 0));
                1
            } else {
                let run = run_length(rest);
                if run >= RUN {
                    self.send_run(&rest[..run], cx)
                } else {
                    self.send_mixed(rest)
                }
            };
            match taken {
                0 => rest = &rest[self.stall(rest, cx)..],
                _ => rest = &rest[taken..],
            }
        }
    }

    /// Sends one datagram for a group. Where another member would take it, through a socket
    /// connected to its receiver: there the kernel tells that nobody received the one before.
    pub(crate) fn post(&mut self, parcel: Parcel, to: SocketAddr, cx: &Context<'_>) {
        if parcel.payload.len() > UDP_PAYLOAD_BYTES {
            return parcel.ticket.dropped(Reason::TooBig);
        }
        if !self.stalled.is_empty() {
            return self.stalled.push(parcel, to, cx.now);
        }
        let connected = match parcel.ticket.is_urgent() {
            true => self.peer(to, cx),
            false => None,
        };
        let sent = match connected {
            Some(Peer { socket, .. }) => socket.send(&[(To::Connected, &parcel.payload)]),
            None => match self.unconnected(to.is_ipv6()) {
                Some(socket) => socket.send(&[(To::Address(to), &parcel.payload)]),
                None => Err(Errno::NETUNREACH.into()),
            },
        };
        match sent {
            Ok(_) => parcel.ticket.settle(Outcome::Delivered),
            Err(error) if datagram::is_full(&error) => {
                self.retry_at = Some(cx.now + STALLED_RETRY);
                self.stalled.push(parcel, to, cx.now);
            }
            Err(error) => parcel.ticket.settle(datagram::failed(&error)),
        }
    }

    /// How many letters wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.stalled.len()
    }

    /// Tries again, and drops what waited too long.
    pub(crate) fn resume(&mut self, cx: &Context<'_>) {
        self.stalled.drop_late(cx.now);
        self.retry_at = Some(cx.now + STALLED_RETRY);
        while !self.stalled.is_empty() {
            let (taken, outcome) = match self.send_stalled() {
                Ok(sent) => (sent, Outcome::Delivered),
                Err(error) if datagram::is_full(&error) => return,
                Err(error) => (1, datagram::failed(&error)),
            };
            for _ in 0..taken {
                if let Some(parcel) = self.stalled.pop() {
                    parcel.ticket.settle(outcome);
                }
            }
        }
    }

    /// Sends the oldest of what waits, as far as it is of one family.
    fn send_stalled(&self) -> io::Result<usize> {
        let mut batch: SmallVec<[(To, &Bytes); SEND_BATCH]> = SmallVec::new();
        for waiting in self.stalled.iter().take(SEND_BATCH) {
            let to = To::Address(waiting.note);
            if batch
                .first()
                .is_some_and(|(first, _)| first.is_ipv6() != to.is_ipv6())
            {
                break;
            }
            batch.push((to, &waiting.parcel.payload));
        }
        let v6 = batch.first().is_some_and(|(first, _)| first.is_ipv6());
        match self.unconnected(v6) {
            Some(socket) => socket.send(&batch),
            None => Err(Errno::NETUNREACH.into()),
        }
    }

    /// When to call [`resume`](Self::resume) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.stalled
            .deadline()
            .map(|late| self.retry_at.map_or(late, |retry| retry.min(late)))
    }

    /// A subscription ended.
    pub(crate) fn cancel(&mut self, page: &Arc<Page>, place: u8) {
        self.stalled.cancel(page, place);
    }

    /// Drops what still waits.
    pub(crate) fn close(&mut self, reason: Reason) {
        self.stalled.clear(reason);
    }

    fn unconnected(&self, v6: bool) -> Option<&dyn Datagrams> {
        if v6 {
            self.v6.as_deref()
        } else {
            self.v4.as_deref()
        }
    }

    /// Lets all of them wait; says how many that is.
    #[cold]
    fn stall(&mut self, letters: &[Letter<'_>], cx: &Context<'_>) -> usize {
        if self.stalled.is_empty() {
            self.retry_at = Some(cx.now + STALLED_RETRY);
        }
        for letter in letters {
            let ticket = Ticket::open(letter.totals, letter.page, letter.place);
            let parcel = Parcel {
                payload: letter.payload.clone(),
                ticket,
                manner: Manner::default(),
                origin: Origin::HERE,
            };
            self.stalled.push(parcel, letter.to, cx.now);
        }
        letters.len()
    }

    /// Sends letters up to the next run, through the socket of their family. Says how many were
    /// counted; 0 if the kernel has no room.
    fn send_mixed(&self, letters: &[Letter<'_>]) -> usize {
        let v6 = letters[0].to.is_ipv6();
        let Some(socket) = self.unconnected(v6) else {
            letters[0].count(Outcome::Dropped(Reason::Unreachable, 0));
            return 1;
        };
        let mut batch: SmallVec<[(To, &Bytes); SEND_BATCH]> = SmallVec::new();
        while batch.len() < SEND_BATCH {
            let Some(letter) = letters.get(batch.len()) else {
                break;
            };
            let ends = letter.to.is_ipv6() != v6
                || letter.is_too_big()
                || (!batch.is_empty() && run_length(&letters[batch.len()..]) >= RUN);
            if ends {
                break;
            }
            batch.push((To::Address(letter.to), letter.payload));
        }
        count(letters, socket.send(&batch))
    }

    /// Sends a run to one destination through a socket connected to it.
    fn send_run(&mut self, run: &[Letter<'_>], cx: &Context<'_>) -> usize {
        let to = run[0].to;
        let Some(peer) = self.peer(to, cx) else {
            return self.send_mixed(&run[..run.len().min(RUN - 1)]);
        };
        let sent = match equal_sizes(run) {
            equal if peer.cuts && equal >= RUN => match send_cut(&*peer.socket, &run[..equal]) {
                Err(error) if datagram::cannot_cut(&error) => {
                    peer.cuts = false;
                    send_each(&*peer.socket, run)
                }
                sent => sent,
            },
            _ => send_each(&*peer.socket, run),
        };
        match sent {
            // What was sent before was refused; the kernel tells it at the next send, of which it
            // takes nothing. The receiver may be back: try once more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                count(run, send_each(&*peer.socket, &run[..1]))
            }
            Err(error) if !datagram::is_full(&error) => {
                self.connected.remove(&to);
                count(run, Err(error))
            }
            sent => count(run, sent),
        }
    }

    /// The socket connected to that address; a new one if there is none.
    fn peer(&mut self, to: SocketAddr, cx: &Context<'_>) -> Option<&mut Peer> {
        if !self.connected.contains_key(&to) {
            if self.connected.len() >= UDP_CONNECTED {
                // All are as good as any: the hot ones come back at once.
                self.connected.clear();
            }
            let socket = cx.os.udp_to(to).ok()?;
            self.connected.insert(to, Peer { socket, cuts: true });
        }
        self.connected.get_mut(&to)
    }
}

/// Counts what became of the first letters; says how many those are.
fn count(letters: &[Letter<'_>], sent: io::Result<usize>) -> usize {
    match sent {
        Ok(sent) => {
            letters[..sent]
                .iter()
                .for_each(|letter| letter.count(Outcome::Delivered));
            sent
        }
        Err(error) if datagram::is_full(&error) => 0,
        Err(error) => {
            letters[0].count(datagram::failed(&error));
            1
        }
    }
}

/// How many of the first letters go to one destination, in one call.
fn run_length(letters: &[Letter<'_>]) -> usize {
    let to = letters[0].to;
    let same = |letter: &&Letter<'_>| letter.to == to && !letter.is_too_big();
    letters.iter().take(SEND_BATCH).take_while(same).count()
}

/// How many of the first letters have one size and may be cut from one buffer.
fn equal_sizes(run: &[Letter<'_>]) -> usize {
    let size = run[0].payload.len();
    if size > SEGMENT_BYTES || size == 0 {
        return 0;
    }
    let most = SEGMENTS.min(UDP_PAYLOAD_BYTES / size);
    run.iter()
        .take(most)
        .take_while(|letter| letter.payload.len() == size)
        .count()
}

/// Sends letters of one size as one buffer; all or none.
fn send_cut(socket: &dyn Datagrams, run: &[Letter<'_>]) -> io::Result<usize> {
    let payloads: SmallVec<[&Bytes; SEGMENTS]> = run.iter().map(|letter| letter.payload).collect();
    socket.send_cut(&payloads)?;
    Ok(run.len())
}

/// Sends letters one datagram each; says how many the kernel took.
fn send_each(socket: &dyn Datagrams, run: &[Letter<'_>]) -> io::Result<usize> {
    let batch: SmallVec<[(To, &Bytes); SEND_BATCH]> = run
        .iter()
        .take(SEND_BATCH)
        .map(|letter| (To::Connected, letter.payload))
        .collect();
    socket.send(&batch)
}
