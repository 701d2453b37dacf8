//! A connection that stands: what is written on it and read from it.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::traffic::Traffic;
use crate::os::Stream;
use crate::stats::{Outcome, Reason};
use crate::transport::datagram;
use crate::wire::reply::{Reader, Reply};

/// Bytes written and read in one turn: others have their turn too.
const WRITTEN: usize = 1 << 20;
const READ: usize = 1 << 18;
/// Bytes read in one call.
const ROOM: usize = 16 << 10;

/// A connection to one receiver.
#[derive(Debug)]
pub(super) struct Line {
    stream: Box<dyn Stream>,
    pub(super) address: SocketAddr,
    pub(super) since: Instant,
    /// The number of the policy that allowed it.
    pub(super) policy: Option<u64>,
    /// Since when it takes nothing more.
    pub(super) full_since: Option<Instant>,
    /// Whether a turn ended before the work did.
    pub(super) has_more: bool,
    replies: Reader,
    complained: bool,
}

impl Line {
    pub(super) fn new(stream: Box<dyn Stream>, address: SocketAddr, now: Instant) -> Self {
        Self {
            stream,
            address,
            since: now,
            policy: None,
            full_since: None,
            has_more: false,
            replies: Reader::default(),
            complained: false,
        }
    }

    /// Writes what waits, as far as it is taken.
    pub(super) fn write(&mut self, traffic: &mut Traffic, now: Instant) -> io::Result<()> {
        let mut written = 0;
        loop {
            if !self.stream.flush()? {
                self.full_since.get_or_insert(now);
                return Ok(());
            }
            traffic.flushed(now);
            if traffic.is_written() {
                return Ok(());
            }
            if written >= WRITTEN {
                self.has_more = true;
                return Ok(());
            }
            let taken = self.stream.write(&traffic.pieces());
            match taken {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    traffic.take(count);
                    self.full_since = None;
                    written += count;
                }
                Err(error) if datagram::is_full(&error) => {
                    self.full_since.get_or_insert(now);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what came. Replies are told to the traffic, if it wants any; the rest is thrown away,
    /// and shows only that somebody is there.
    pub(super) fn read(&mut self, traffic: &mut Traffic) -> io::Result<()> {
        let mut room = [0; ROOM];
        let mut count = 0;
        while count < READ {
            match self.stream.read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    count += length;
                    if traffic.wants_replies() {
                        self.hear(&room[..length], traffic);
                    }
                }
                Err(error) if datagram::is_full(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.has_more = true;
        Ok(())
    }

    /// Says to the receiver that this was all.
    pub(super) fn finish(&mut self) {
        self.stream.finish();
    }

    fn hear(&mut self, bytes: &[u8], traffic: &mut Traffic) {
        let (complained, address) = (&mut self.complained, self.address);
        self.replies.read(bytes, |reply| match reply {
            Reply::Accepted(id) => traffic.answered(id, Outcome::Delivered),
            Reply::Rejected(id) => traffic.answered(id, Outcome::Dropped(Reason::Rejected, 0)),
            Reply::Stray => {}
            Reply::Malformed => {
                if !std::mem::replace(complained, true) {
                    tracing::warn!(%address, "a receiver replies what is not JSON");
                }
            }
        });
    }
}
