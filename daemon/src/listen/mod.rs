//! `bellwire listen`: a subscriber that prints what it hears.
//!
//! `receiver` is the socket, `show` the line an event becomes. Here is the subscription's life:
//! made, renewed well before it ends, made again when the daemon was restarted, and ended.

mod receiver;
mod show;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::receiver::Receiver;
use crate::args;
use crate::client::{CallError, Client};
use crate::commands::subscribers;
use crate::failure::Failure;
use crate::rundir;
use crate::settings;

/// How soon to try again when the daemon does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Datagrams printed before the signals and the clock are looked at again.
const BATCH: usize = 256;

/// Subscribes, prints what arrives until a signal or the count ends it, and unsubscribes.
pub(crate) fn listen(args: &args::Listen) -> Result<(), Failure> {
    // Before anything that a signal should clean up.
    let signals = signals().map_err(|error| Failure::new(format!("signals: {error}")))?;
    let receiver = bind(args)?;
    let mut listening = Listening {
        args,
        client: args.asking.client(),
        receiver,
        signals,
        out: BufWriter::with_capacity(64 * 1024, io::stdout().lock()),
        received: 0,
        renew_at: Instant::now(),
        answers: true,
    };
    if let Err(failure) = listening.begin() {
        listening.unsubscribe();
        return Err(failure);
    }
    let outcome = listening.run();
    // Also when the output is gone: nobody shall send to us any more.
    let missed = listening.unsubscribe();
    let ended = listening.end(&missed);
    outcome.and(ended)
}

fn bind(args: &args::Listen) -> Result<Receiver, Failure> {
    match &args.socket {
        Some(socket) => Receiver::bind(socket),
        None => {
            let dir = rundir::path();
            rundir::prepare(&dir)?;
            let name = format!("listen-{}.sock", std::process::id());
            Receiver::bind(&settings::Listen::Unix(dir.join(name)))
        }
    }
}

/// A stream that can be read when a signal asks us to end.
fn signals() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

struct Listening<'a> {
    args: &'a args::Listen,
    client: Client,
    receiver: Receiver,
    signals: UnixStream,
    out: BufWriter<StdoutLock<'static>>,
    received: u64,
    renew_at: Instant,
    /// Whether the daemon answered the last renewal.
    answers: bool,
}

impl Listening<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        self.subscribe()?;
        self.renew_at = Instant::now() + self.period();
        let events: Vec<_> = self
            .args
            .events
            .iter()
            .map(|event| event.as_str())
            .collect();
        tracing::info!("{} hears of {}", self.receiver.socket(), events.join(", "));
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failure> {
        loop {
            if self.wait()? {
                return Ok(());
            }
            if self.print_arrived(BATCH)? {
                return Ok(());
            }
            if self.renew_at <= Instant::now() {
                self.renew();
            }
        }
    }

    /// Waits for a datagram, a signal or the next renewal; `true` if it was a signal.
    fn wait(&self) -> Result<bool, Failure> {
        let left = self.renew_at.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|error| Failure::new(error.to_string()))?;
        let mut ready = [
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.receiver, PollFlags::IN),
        ];
        match rustix::event::poll(&mut ready, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!ready[0].revents().is_empty()),
            Err(errno) => Err(Failure::new(format!("poll: {errno}"))),
        }
    }

    /// Prints up to `most` of what has arrived; `true` if there have been as many as were wanted.
    fn print_arrived(&mut self, most: usize) -> Result<bool, Failure> {
        for _ in 0..most {
            if self.has_enough() {
                break;
            }
            let Some(payload) = self.receiver.receive()? else {
                break;
            };
            self.received += 1;
            if self.args.asking.json {
                show::json(payload, &mut self.out)?;
            } else {
                show::line(payload, &mut self.out)?;
            }
        }
        self.out.flush()?;
        Ok(self.has_enough())
    }

    fn has_enough(&self) -> bool {
        self.args.count.is_some_and(|count| self.received >= count)
    }

    fn subscribe(&self) -> Result<(), CallError> {
        for event in &self.args.events {
            let params = json!([event.as_str(), self.receiver.socket(), self.args.expire]);
            self.client.call("event_subscribe", params)?;
        }
        Ok(())
    }

    /// A third of the lifetime: two renewals can fail before it ends.
    fn period(&self) -> Duration {
        Duration::from_secs(self.args.expire.into()) / 3
    }

    fn renew(&mut self) {
        match self.subscribe() {
            Ok(()) => {
                if !self.answers {
                    tracing::warn!("the daemon answers again; what it raised meanwhile is missed");
                }
                self.answers = true;
                self.renew_at = Instant::now() + self.period();
            }
            Err(error) => {
                if self.answers {
                    tracing::warn!("{error}; trying again every second");
                }
                self.answers = false;
                self.renew_at = Instant::now() + RETRY;
            }
        }
    }

    /// Unsubscribes from all events, and tells what the daemon dropped on the way to us.
    fn unsubscribe(&self) -> Missed {
        let mut missed = Missed::default();
        for event in &self.args.events {
            let (event, socket) = (event.as_str(), self.receiver.socket());
            // Another server than ours has no such listing.
            if let Ok(Some(fate)) = subscribers::of(&self.client, event, socket) {
                let dropped = fate.dropped.values().sum::<u64>();
                if dropped > 0 {
                    missed.dropped += dropped;
                    missed.reasons.push(format!("{event}: {}", fate.losses()));
                }
            }
            if let Err(error) = self
                .client
                .call("event_subscribe", json!([event, socket, 0]))
            {
                tracing::debug!("{error}");
                break;
            }
        }
        missed
    }

    /// Prints what is still there, and says what was missed.
    fn end(&mut self, missed: &Missed) -> Result<(), Failure> {
        let printed = self.print_arrived(usize::MAX);
        let Missed { dropped, reasons } = missed;
        let unread = self.receiver.overflowed();
        if dropped + unread > 0 {
            tracing::warn!(
                "{} received; missed {dropped} that the daemon dropped and {unread} that came \
                 faster than they were read. {}",
                self.received,
                reasons.join("; ")
            );
        } else {
            tracing::info!("{} received, none missed", self.received);
        }
        printed.map(|_| ())
    }
}

/// What the daemon says it dropped.
#[derive(Default)]
struct Missed {
    dropped: u64,
    /// By event.
    reasons: Vec<String>,
}
