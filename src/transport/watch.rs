//! Waiting until something can be read, or another thread has a word to say: what the threads
//! have in common that serve sockets of ours.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

/// The token of the waker; those of what is read follow it.
const WAKER: Token = Token(0);

/// What a thread reads, each in its place.
#[derive(Debug)]
pub(crate) struct Watch {
    poll: Poll,
    readiness: Events,
}

impl Watch {
    /// Watches these, in their places from 0 on. Who holds the waker ends the wait.
    pub(crate) fn new<'a>(
        readers: impl IntoIterator<Item = &'a dyn AsRawFd>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let watch = Self {
            poll,
            readiness: Events::with_capacity(64),
        };
        for (place, reader) in readers.into_iter().enumerate() {
            watch.add(place, reader)?;
        }
        Ok((watch, waker))
    }

    /// Watches another one in that place. What was there must be closed.
    pub(crate) fn add(&self, place: usize, reader: &dyn AsRawFd) -> io::Result<()> {
        let token = Token(WAKER.0 + 1 + place);
        self.poll.registry().register(
            &mut SourceFd(&reader.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// Waits until something can be read, for so long at most, and adds its place to those that
    /// are still `unread`: in order, each once. It is told once: who does not read all of it
    /// keeps the place.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        unread: &mut Vec<usize>,
    ) -> io::Result<()> {
        match self.poll.poll(&mut self.readiness, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let tokens = self.readiness.iter().map(|one| one.token());
        let tokens = tokens.filter(|token| *token != WAKER);
        unread.extend(tokens.map(|token| token.0 - WAKER.0 - 1));
        unread.sort_unstable();
        unread.dedup();
        Ok(())
    }
}
