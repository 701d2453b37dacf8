//! The thread of one file: makes lines of events and writes them together.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::Sender;
use rustix::io::Errno;

use super::beneath::OpenError;
use super::log::{Cause, Log, Rotation};
use super::tail::Lines;
use crate::limits::{FILE_BATCH_BYTES, FILE_BATCH_LINES};
use crate::stats::{Outcome, Reason};
use crate::sync::Mutex;
use crate::transport::throttle::Throttle;
use crate::transport::worker::{Delivery, Work};
use crate::wire::parse;

/// Raised when a file was rotated.
pub(super) const ROTATION: &str = "E_FLATSTORE_ROTATION";

/// Raises an event of the engine's own, with these parameters.
pub(crate) type Announce = Arc<dyn Fn(&str, &[(&str, &str)]) + Send + Sync>;

/// Rotations that were asked for, and who waits for the result.
pub(super) type Orders = Mutex<Vec<Sender<Result<(), String>>>>;

/// Writes one file.
pub(super) struct Writer {
    log: Log,
    orders: Arc<Orders>,
    announce: Announce,
    lines: Lines,
    throttle: Throttle,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// What keeps lines from being gathered further.
enum Stop {
    /// Nothing more to gather, or enough.
    Full,
    /// The next line belongs into the next file. Whether it tells of a rotation itself.
    Rotate(Cause, bool),
    /// The next event is not written, for this reason.
    Skip(Reason),
}

impl Writer {
    pub(super) fn new(log: Log, orders: Arc<Orders>, announce: Announce) -> Self {
        Self {
            log,
            orders,
            announce,
            lines: Lines::default(),
            throttle: Throttle::default(),
        }
    }

    /// Makes lines of the first items, as many as go into the file together.
    fn gather(&mut self, delivery: &Delivery<'_>) -> Stop {
        self.lines.clear();
        let now = Instant::now();
        if delivery.is_withdrawn() {
            return Stop::Skip(Reason::Expired);
        }
        for item in delivery.items() {
            let lines = &mut self.lines;
            if lines.len() >= FILE_BATCH_LINES || lines.bytes.len() >= FILE_BATCH_BYTES {
                return Stop::Full;
            }
            if item.not_after <= now {
                return Stop::Skip(Reason::WouldBlockTimeout);
            }
            let Ok(notification) = parse::jsonrpc(&item.payload) else {
                return Stop::Skip(Reason::Other);
            };
            let count = lines.len();
            let style = &self.log.options().style;
            style.encode(&mut lines.bytes, &notification);
            lines.ends.push(lines.bytes.len());
            if let Err(cause) = self.log.has_room(count, lines.bytes.len()) {
                lines.pop();
                return Stop::Rotate(cause, notification.method == ROTATION);
            }
        }
        Stop::Full
    }

    /// Writes what was gathered and settles it.
    fn write(&mut self, delivery: &mut Delivery<'_>) {
        let count = self.lines.len();
        if count == 0 {
            return;
        }
        let (written, error) = match self.log.reopen_if_gone() {
            Ok(()) => self.log.append(&self.lines),
            Err(error) => (0, Some(error)),
        };
        match &error {
            Some(error) => self.fail(delivery, error),
            None => delivery.up(),
        }
        delivery.settle(written, Outcome::Delivered);
        if let Some(error) = error {
            delivery.settle(count - written, outcome_of(&error));
        }
    }

    fn fail(&mut self, delivery: &Delivery<'_>, error: &OpenError) {
        delivery.down(error.text());
        if let Some(held_back) = self.throttle.pass(Instant::now()) {
            tracing::warn!(error = error.text(), held_back, "events are not written");
        }
    }

    fn rotate(&mut self, cause: Cause, is_silent: bool) -> Result<(), String> {
        match self.log.rotate(cause) {
            // A line that tells of a rotation and causes the next would go on for ever.
            Ok(_) if is_silent => Ok(()),
            Ok(rotation) => {
                self.tell(&rotation);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error = error.text(), "the file is not rotated");
                Err(error.text().to_owned())
            }
        }
    }

    fn obey(&mut self) {
        let orders = std::mem::take(&mut *self.orders.lock().expect("no panic under this lock"));
        if orders.is_empty() {
            return;
        }
        let result = self.rotate(Cause::Command, false);
        for order in orders {
            // Whoever asked may have given up waiting.
            order.send(result.clone()).ok();
        }
    }

    fn tell(&self, rotation: &Rotation) {
        let time = rotation.time.to_string();
        (self.announce)(
            ROTATION,
            &[
                ("timestamp", &time),
                ("reason", rotation.cause.name()),
                ("filename", &rotation.new.to_string_lossy()),
                ("old_filename", &rotation.old.to_string_lossy()),
            ],
        );
    }
}

impl Work for Writer {
    fn deliver(&mut self, delivery: &mut Delivery<'_>) {
        self.tick();
        while delivery.len() > 0 {
            let stop = self.gather(delivery);
            self.write(delivery);
            match stop {
                Stop::Full => {}
                Stop::Rotate(cause, is_silent) => {
                    // That it failed was logged; the old file goes on.
                    self.rotate(cause, is_silent).ok();
                }
                Stop::Skip(reason) => delivery.settle(1, Outcome::Dropped(reason, 0)),
            }
        }
    }

    fn tick(&mut self) {
        self.log.forgive();
        self.obey();
        if self.log.is_period_over() {
            // That it failed was logged; it is tried again.
            self.rotate(Cause::Period, false).ok();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.log.deadline()
    }
}

fn outcome_of(error: &OpenError) -> Outcome {
    match error {
        OpenError::Refused(_) => Outcome::Dropped(Reason::Policy, 0),
        OpenError::Failed(errno, _) => {
            let reason = match *errno {
                Errno::NOENT | Errno::NOTDIR => Reason::Unreachable,
                _ => Reason::Other,
            };
            Outcome::Dropped(reason, errno.raw_os_error())
        }
    }
}
