//! Replies on their way: tried until they are out, without ever waiting for a reader.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;

use super::fifo::Fifo;
use super::fifo::OpenError;
use crate::limits;
use crate::transport::listen::Listener;
use crate::transport::listen::Peer;

/// How soon a reader that was busy is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// Where a reply goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// To a FIFO in the reply directory of that FIFO; nowhere if it has no name.
    Fifo { fifo: usize, name: Option<String> },
    /// Back to the sender, from the same socket.
    Datagram { socket: usize, peer: Peer },
}

/// What writes replies: the listeners of the server.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) fifos: Vec<Fifo>,
    pub(super) sockets: Vec<Listener>,
}

/// Replies on their way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
}

/// Whether a reply is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Now,
    Later,
}

/// Why a reply was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) to: String,
    pub(super) why: String,
}

/// What one look at all replies came to.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) sent: u64,
    pub(super) dropped: Vec<Dropped>,
}

#[derive(Debug)]
struct Waiting {
    origin: Origin,
    text: Vec<u8>,
    written: usize,
    pipe: Option<OwnedFd>,
    tries: u32,
    since: Instant,
    progress: Instant,
    due: Instant,
}

enum Step {
    Sent,
    Later(Duration),
    Drop(String),
}

impl Outbox {
    /// Sends a reply at once if it can be, else keeps it; says why if it does neither.
    pub(super) fn push(
        &mut self,
        origin: Origin,
        text: Vec<u8>,
        ends: &Ends,
        now: Instant,
    ) -> Result<Sent, Dropped> {
        let mut waiting = Waiting {
            origin,
            text,
            written: 0,
            pipe: None,
            tries: 0,
            since: now,
            progress: now,
            due: now,
        };
        let reader = &waiting.origin;
        let before = self
            .waiting
            .iter()
            .filter(|other| other.origin == *reader)
            .count();
        // Behind others for the same reader it waits for its turn: replies must not mix.
        if before == 0 {
            match waiting.step(ends, now) {
                Step::Sent => return Ok(Sent::Now),
                Step::Later(pause) => waiting.due = now + pause,
                Step::Drop(why) => {
                    return Err(Dropped {
                        to: describe(&waiting.origin),
                        why,
                    });
                }
            }
        }
        // One reader that does not read must not take the places of the others.
        let bytes: usize = self.waiting.iter().map(|other| other.text.len()).sum();
        let is_full = bytes + waiting.text.len() > limits::REPLIES_BYTES && bytes > 0;
        if is_full || before >= limits::REPLIES_TO_ONE || self.waiting.len() >= limits::REPLIES {
            let why = "too many replies wait already".into();
            return Err(Dropped {
                to: describe(&waiting.origin),
                why,
            });
        }
        self.waiting.push_back(waiting);
        Ok(Sent::Later)
    }

    /// When the next reply is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    /// Tries all replies that are due.
    pub(super) fn work(&mut self, ends: &Ends, now: Instant) -> Turn {
        let mut turn = Turn::default();
        let mut kept: VecDeque<Waiting> = VecDeque::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            // Two replies to one reader must not mix.
            let is_behind = kept.iter().any(|earlier| earlier.origin == waiting.origin);
            if is_behind {
                waiting.since = now;
                waiting.progress = now;
                waiting.due = now + PAUSE;
            }
            if is_behind || waiting.due > now {
                kept.push_back(waiting);
                continue;
            }
            match waiting.step(ends, now) {
                Step::Sent => turn.sent += 1,
                Step::Later(pause) => {
                    waiting.due = now + pause;
                    kept.push_back(waiting);
                }
                Step::Drop(why) => {
                    turn.dropped.push(Dropped {
                        to: describe(&waiting.origin),
                        why,
                    });
                }
            }
        }
        self.waiting = kept;
        turn
    }
}

impl Waiting {
    fn step(&mut self, ends: &Ends, now: Instant) -> Step {
        if now.saturating_duration_since(self.since) > limits::REPLY_TIME {
            return Step::Drop("the reader is too slow".into());
        }
        match &self.origin {
            Origin::Fifo { name: None, .. } => Step::Sent,
            Origin::Fifo {
                fifo,
                name: Some(name),
            } => {
                let pipe = match self.pipe.take() {
                    Some(pipe) => pipe,
                    None => match ends.fifos[*fifo].replies.open_reply(name) {
                        Ok(pipe) => pipe,
                        Err(OpenError::Refused(why)) => return Step::Drop(why),
                        Err(OpenError::NoReader) => return self.no_reader(),
                    },
                };
                self.write(pipe, now)
            }
            Origin::Datagram { socket, peer } => {
                let socket = &ends.sockets[*socket];
                match socket.send(&self.text, peer) {
                    Ok(()) => Step::Sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.busy(now),
                    Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                        self.text = b"500 Internal error".to_vec();
                        Step::Later(Duration::ZERO)
                    }
                    Err(error) => Step::Drop(error.to_string()),
                }
            }
        }
    }

    fn no_reader(&mut self) -> Step {
        self.tries += 1;
        if self.tries >= limits::FIFO_OPEN_TRIES {
            return Step::Drop("nobody reads it".into());
        }
        Step::Later(limits::FIFO_OPEN_PAUSE)
    }

    /// Writes on; a reply is closed by the end of the file.
    fn write(&mut self, pipe: OwnedFd, now: Instant) -> Step {
        if self.tries > 0 {
            // The time to open is not the reader's.
            self.tries = 0;
            self.progress = now;
        }
        while self.written < self.text.len() {
            match rustix::io::write(&pipe, &self.text[self.written..]) {
                Ok(length) => {
                    self.written += length;
                    self.progress = now;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.pipe = Some(pipe);
                    return self.busy(now);
                }
                Err(Errno::PIPE) => return Step::Drop("the reader went away".into()),
                Err(error) => return Step::Drop(error.to_string()),
            }
        }
        Step::Sent
    }

    fn busy(&self, now: Instant) -> Step {
        if now.saturating_duration_since(self.progress) > limits::REPLY_STALL_TIME {
            return Step::Drop("the reader does not read".into());
        }
        Step::Later(PAUSE)
    }
}

fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Fifo { name, .. } => format!("FIFO {:?}", name.as_deref().unwrap_or_default()),
        Origin::Datagram {
            peer: Peer::Udp(address),
            ..
        } => format!("udp:{address}"),
        Origin::Datagram {
            peer: Peer::Unix(address),
            ..
        } => format!("{address:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::FileType;

    use super::super::fifo::FifoConfig;
    use super::*;
    use crate::testing::TempDir;

    fn one_fifo(directory: &TempDir) -> Ends {
        let mut config = FifoConfig::new(directory.file("mi"));
        config.reply_dir = directory.path().to_owned();
        Ends {
            fifos: vec![Fifo::create(config).unwrap()],
            sockets: Vec::new(),
        }
    }

    #[test]
    fn replies_that_wait_are_bounded_in_bytes_but_for_the_first() {
        let directory = TempDir::new();
        let ends = one_fifo(&directory);
        let mut outbox = Outbox::default();
        let mut push = |name: &str, length| {
            let origin = Origin::Fifo {
                fifo: 0,
                name: Some(name.into()),
            };
            let path = directory.file(name);
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
            outbox.push(origin, vec![b'1'; length], &ends, Instant::now())
        };
        assert_eq!(push("long", limits::REPLIES_BYTES + 1), Ok(Sent::Later));
        let refusal = push("short", 1).unwrap_err();
        assert_eq!(refusal.why, "too many replies wait already");
    }

    /// What the second would write is short enough for the room that the reader has made.
    #[test]
    fn a_reply_waits_for_the_one_before_it() {
        let directory = TempDir::new();
        let ends = one_fifo(&directory);
        let path = directory.file("r");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut options = std::fs::OpenOptions::new();
        let mut reader = options
            .read(true)
            .custom_flags(nonblocking)
            .open(path)
            .unwrap();

        let origin = Origin::Fifo {
            fifo: 0,
            name: Some("r".into()),
        };
        let mut outbox = Outbox::default();
        let now = Instant::now();
        let long = vec![b'1'; 200_000];
        let first = outbox.push(origin.clone(), long.clone(), &ends, now);
        assert_eq!(first, Ok(Sent::Later));
        let mut got = vec![0; 30_000];
        reader.read_exact(&mut got).unwrap();
        let second = outbox.push(origin, b"2".to_vec(), &ends, now);
        assert_eq!(second, Ok(Sent::Later));

        let mut sent = 0;
        let mut time = now;
        while sent < 2 {
            time += PAUSE;
            let turn = outbox.work(&ends, time);
            assert_eq!(turn.dropped, []);
            sent += turn.sent;
            let mut buffer = [0; 65536];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                got.extend_from_slice(&buffer[..length]);
            }
        }
        assert_eq!(got, [long, b"2".to_vec()].concat());
        assert_eq!(outbox.due(), None);
    }
}
