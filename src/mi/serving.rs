//! What the management thread does: read, run, reply, and never wait for anybody.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam::channel::Receiver;
use crossbeam::channel::Sender;
use mio::Waker;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;

use super::commands::Commands;
use super::commands::Provider;
use super::commands::Reply;
use super::frames::Frame;
use super::outbox::Dropped;
use super::outbox::Ends;
use super::outbox::Origin;
use super::outbox::Outbox;
use super::outbox::Sent;
use super::pace::Pace;
use super::request;
use super::request::Malformed;
use super::request::Request;
use super::text;
use crate::limits;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use crate::transport::throttle::Throttle;
use crate::transport::watch::Watch;

/// What the thread is told from outside.
#[derive(Debug)]
pub(super) enum Message {
    /// A reply that had to wait for a name lookup.
    Reply(Origin, Option<Vec<u8>>),
    Stop,
}

/// What the interface counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    malformed: AtomicU64,
    replies: AtomicU64,
    replies_dropped: AtomicU64,
    lookups_refused: AtomicU64,
    fifos_remade: AtomicU64,
}

impl Counters {
    /// The counters as statistics, for as long as the server lives.
    pub(super) fn provider(counters: &Arc<Self>) -> Provider {
        let counters = Arc::downgrade(counters);
        Arc::new(move || {
            let Some(counters) = counters.upgrade() else {
                return Vec::new();
            };
            [
                ("mi:requests", &counters.requests),
                ("mi:malformed", &counters.malformed),
                ("mi:replies", &counters.replies),
                ("mi:replies_dropped", &counters.replies_dropped),
                ("mi:lookups_refused", &counters.lookups_refused),
                ("mi:fifos_remade", &counters.fifos_remade),
            ]
            .map(|(name, counter)| (name.to_owned(), counter.load(Relaxed)))
            .to_vec()
        })
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Serving {
    watch: Watch,
    ends: Ends,
    commands: Commands,
    counters: Arc<Counters>,
    messages: (Sender<Message>, Receiver<Message>, Arc<Waker>),
    /// Cloned into every thread that looks a name up: the clones are the count.
    lookups: Arc<()>,
    outbox: Outbox,
    /// Listeners that had more to read than their turn or their pace allowed.
    unread: Vec<usize>,
    paces: Vec<Pace>,
    fifo_check: Duration,
    next_check: Instant,
    buffer: Box<[u8]>,
    throttle: Throttle,
}

/// Reads from one listener before the others get their turn.
const READS_A_TURN: usize = 64;

/// A request that was understood, and the form in which it is answered.
enum Work {
    Json(Request),
    Text { command: String, body: Vec<u8> },
}

impl Serving {
    pub(super) fn new(
        watch: Watch,
        ends: Ends,
        commands: Commands,
        counters: Arc<Counters>,
        messages: (Sender<Message>, Receiver<Message>, Arc<Waker>),
        fifo_check: Duration,
        requests_per_second: u32,
    ) -> Self {
        let listeners = ends.fifos.len() + ends.sockets.len();
        Self {
            watch,
            ends,
            commands,
            counters,
            messages,
            lookups: Arc::new(()),
            outbox: Outbox::default(),
            unread: Vec::new(),
            paces: vec![Pace::new(requests_per_second); listeners],
            fifo_check,
            next_check: Instant::now() + fifo_check,
            // One byte more than is taken tells what is too long from what just fits.
            buffer: vec![0; limits::MI_REQUEST_BYTES + 1].into_boxed_slice(),
            throttle: Throttle::default(),
        }
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) {
        // A reader that goes away while its reply is written must not end the process.
        let mut pipe = SigSet::empty();
        pipe.add(Signal::SIGPIPE);
        if let Err(error) = pipe.thread_block() {
            tracing::warn!(%error, "cannot block SIGPIPE");
        }
        loop {
            let timeout = self.timeout(Instant::now());
            if let Err(error) = self.watch.wait(timeout, &mut self.unread) {
                tracing::error!(%error, "the management interface stops: cannot poll");
                return;
            }
            for index in std::mem::take(&mut self.unread) {
                self.read(index);
            }
            if self.hear() {
                return;
            }
            self.keep_time(Instant::now());
        }
    }

    /// How long there is nothing to do, if nothing comes.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let resumes = |index: &usize| self.paces[*index].resumes(now).unwrap_or(now);
        let unread = self.unread.iter().map(resumes);
        let fifos = self.ends.fifos.iter().zip(&self.paces);
        let frames = fifos
            .filter(|(_, pace)| pace.resumes(now).is_none())
            .filter_map(|(fifo, _)| fifo.frames.deadline());
        let check = (!self.ends.fifos.is_empty()).then_some(self.next_check);
        let due = frames.chain(unread).chain(self.outbox.due()).chain(check);
        Some(due.min()?.saturating_duration_since(now))
    }

    /// Takes what other threads sent; `true` if it is to stop.
    fn hear(&mut self) -> bool {
        while let Ok(message) = self.messages.1.try_recv() {
            match message {
                Message::Stop => return true,
                Message::Reply(origin, text) => self.reply(origin, text),
            }
        }
        false
    }

    /// Does what is due.
    fn keep_time(&mut self, now: Instant) {
        for index in 0..self.ends.fifos.len() {
            // What is not read because of its pace is not late.
            while self.paces[index].resumes(now).is_none()
                && let frames = &mut self.ends.fifos[index].frames
                && frames.deadline().is_some_and(|deadline| deadline <= now)
            {
                let frame = frames.expire();
                self.take(index, frame);
                self.cut(index);
            }
        }
        if self.next_check <= now {
            self.next_check = now + self.fifo_check;
            (0..self.ends.fifos.len()).for_each(|index| self.look_after(index));
        }
        let turn = self.outbox.work(&self.ends, now);
        self.counters.replies.fetch_add(turn.sent, Relaxed);
        for dropped in turn.dropped {
            self.dropped(dropped);
        }
    }

    /// Makes a FIFO again that vanished.
    fn look_after(&mut self, index: usize) {
        let fifo = &mut self.ends.fifos[index];
        if fifo.is_there() {
            return;
        }
        let path = fifo.path().to_owned();
        let remade = fifo.create_again().and_then(|()| {
            let added = self.watch.add(index, fifo);
            added.map_err(|error| error.to_string())
        });
        match remade {
            Ok(()) => {
                count(&self.counters.fifos_remade);
                tracing::warn!(path = %path.display(), "the FIFO had vanished and was made again");
            }
            Err(why) => {
                tracing::error!(path = %path.display(), why, "the FIFO vanished");
            }
        }
    }

    /// Reads one listener until it is empty, or its turn is over.
    fn read(&mut self, index: usize) {
        let fifos = self.ends.fifos.len();
        for _ in 0..READS_A_TURN {
            if self.paces[index].resumes(Instant::now()).is_some() {
                break;
            }
            let outcome = match index.checked_sub(fifos) {
                None => self.read_fifo(index),
                Some(socket) => self.read_datagram(socket),
            };
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.complain(&format!("cannot read: {error}"));
                    return;
                }
            }
        }
        self.unread.push(index);
    }

    fn read_fifo(&mut self, index: usize) -> io::Result<()> {
        let fifo = &mut self.ends.fifos[index];
        match fifo.read(&mut self.buffer)? {
            // Open for writing by ourselves, it never ends.
            0 => Err(io::ErrorKind::WouldBlock.into()),
            length => {
                fifo.frames.push(&self.buffer[..length], Instant::now());
                self.cut(index);
                Ok(())
            }
        }
    }

    /// Runs all requests that the FIFO's bytes hold.
    fn cut(&mut self, index: usize) {
        while let Some(frame) = self.ends.fifos[index].frames.next() {
            self.take(index, frame);
        }
    }

    fn take(&mut self, fifo: usize, frame: Frame) {
        self.paces[fifo].spend(Instant::now());
        let replies = &self.ends.fifos[fifo].replies;
        let name = match &frame {
            Frame::Json { reply, .. } | Frame::NotJson { reply } | Frame::TooLong { reply } => {
                replies.file_name(reply, false)
            }
            Frame::Text { reply, .. } | Frame::BadText { reply, .. } => {
                replies.file_name(reply, true)
            }
            Frame::Noise => Err("what was read begins no request".into()),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => return self.malformed(&why),
        };
        let origin = Origin::Fifo { fifo, name };
        match frame {
            Frame::Json { body, .. } => match Request::parse(&body) {
                Ok(request) => self.work(origin, Work::Json(request)),
                Err(malformed) => self.refuse(origin, &malformed, malformed.answer()),
            },
            Frame::Text { command, body, .. } => self.work(origin, Work::Text { command, body }),
            Frame::NotJson { .. } => {
                self.refuse(
                    origin,
                    &"not JSON",
                    Reply::Malformed.into_json().unwrap_or_default(),
                );
            }
            Frame::TooLong { .. } => {
                let malformed = request::too_long();
                self.refuse(origin, &malformed, malformed.answer());
            }
            Frame::BadText { command, .. } => {
                self.refuse(origin, &"the text never ends", text::parse_error(&command));
            }
            Frame::Noise => {}
        }
    }

    fn read_datagram(&mut self, socket: usize) -> io::Result<()> {
        let (length, peer) = self.ends.sockets[socket].receive(&mut self.buffer)?;
        self.paces[self.ends.fifos.len() + socket].spend(Instant::now());
        if !peer.is_named() {
            self.malformed("a sender without an address cannot be answered: bind its socket");
            return Ok(());
        }
        let origin = Origin::Datagram { socket, peer };
        let datagram = &self.buffer[..length];
        if datagram.first() == Some(&b':') && length <= limits::MI_REQUEST_BYTES {
            match text::split(datagram) {
                Ok((command, body)) => {
                    let work = Work::Text {
                        command,
                        body: body.to_vec(),
                    };
                    self.work(origin, work);
                }
                Err(answer) => self.refuse(origin, &"a broken text request", answer),
            }
            return Ok(());
        }
        match Request::parse(datagram) {
            Ok(request) => self.work(origin, Work::Json(request)),
            Err(malformed @ Malformed::Syntax(_)) => {
                self.refuse(origin, &malformed, b"400 Parse_error".to_vec());
            }
            Err(malformed) => self.refuse(origin, &malformed, malformed.answer()),
        }
        Ok(())
    }

    /// Runs a request here, or on a thread of its own if it may have to look a name up.
    fn work(&mut self, origin: Origin, work: Work) {
        count(&self.counters.requests);
        if !work.may_wait(&self.commands) {
            let text = work.run(&self.commands);
            return self.reply(origin, text);
        }
        let refused = work.refused();
        let is_full = Arc::strong_count(&self.lookups) > limits::MI_LOOKUPS;
        if !is_full {
            match self.run_beside(origin.clone(), work) {
                Ok(()) => return,
                Err(error) => self.complain(&format!("no thread for a name lookup: {error}")),
            }
        }
        count(&self.counters.lookups_refused);
        self.reply(origin, refused);
    }

    /// Runs a request on a thread of its own, which sends the reply back here.
    fn run_beside(&self, origin: Origin, work: Work) -> io::Result<()> {
        let commands = self.commands.clone();
        let ticket = Arc::clone(&self.lookups);
        let (messages, waker) = (self.messages.0.clone(), Arc::clone(&self.messages.2));
        let run = move || {
            let text = work.run(&commands);
            drop(ticket);
            // The server may have stopped meanwhile; then nobody wants the reply.
            if messages.send(Message::Reply(origin, text)).is_ok()
                && let Err(error) = waker.wake()
            {
                tracing::error!(%error, "cannot wake the management thread");
            }
        };
        thread::Builder::new()
            .name("bellwire-lookup".into())
            .spawn(run)
            .map(drop)
    }

    fn reply(&mut self, origin: Origin, text: Option<Vec<u8>>) {
        let Some(text) = text else {
            return;
        };
        if matches!(origin, Origin::Fifo { name: None, .. }) {
            return;
        }
        match self.outbox.push(origin, text, &self.ends, Instant::now()) {
            Ok(Sent::Now) => count(&self.counters.replies),
            Ok(Sent::Later) => {}
            Err(dropped) => self.dropped(dropped),
        }
    }

    fn refuse(&mut self, origin: Origin, why: &dyn std::fmt::Display, text: Vec<u8>) {
        self.malformed(&why.to_string());
        self.reply(origin, Some(text));
    }

    fn malformed(&mut self, why: &str) {
        count(&self.counters.malformed);
        self.complain(&format!("malformed request: {why}"));
    }

    fn dropped(&mut self, dropped: Dropped) {
        count(&self.counters.replies_dropped);
        self.complain(&format!("reply to {} dropped: {}", dropped.to, dropped.why));
    }

    fn complain(&mut self, what: &str) {
        if let Some(held_back) = self.throttle.pass(Instant::now()) {
            tracing::warn!(held_back, "management interface: {what}");
        }
    }
}

impl Work {
    /// Whether running it may look a host name up.
    fn may_wait(&self, commands: &Commands) -> bool {
        let context = &commands.context;
        match self {
            Self::Json(request) => context.may_wait(&request.method, &request.params),
            Self::Text { command, body } => text::params_of(command, body)
                .is_some_and(|params| context.may_wait(command, &params)),
        }
    }

    fn run(self, commands: &Commands) -> Option<Vec<u8>> {
        match self {
            Self::Json(request) => commands.run(request).into_json(),
            Self::Text { command, body } => Some(text::run(commands, &command, &body)),
        }
    }

    /// The reply when too many wait already.
    fn refused(&self) -> Option<Vec<u8>> {
        let busy = super::failure::Failure::because(
            503,
            "Service Unavailable",
            format!(
                "{} name lookups are under way; try again",
                limits::MI_LOOKUPS
            ),
        );
        match self {
            Self::Json(request) => request.id.as_ref().map(|id| request::refusal(&busy, id)),
            Self::Text { .. } => Some(text::refusal(&busy)),
        }
    }
}

#[cfg(test)]
mod tests;
