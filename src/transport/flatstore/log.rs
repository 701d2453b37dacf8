//! One file and its rotation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::io::Errno;

use super::beneath::{self, OpenError};
use super::settings::Options;
use super::tail::{Lines, Tail};
use crate::transport::policy::Gate;

/// A rotation that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// The wall clock may be set: it is looked at this often at least.
const CLOCK_LOOK: Duration = Duration::from_secs(10);

/// Why a file is rotated: the reasons of `E_FLATSTORE_ROTATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Count,
    Size,
    Period,
    Command,
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Size => "size",
            Self::Period => "period",
            Self::Command => "mi",
        }
    }
}

/// A rotation that took place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) cause: Cause,
    /// Seconds since 1970.
    pub(super) time: i64,
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
}

/// A file that lines are appended to, and its successors.
#[derive(Debug)]
pub(super) struct Log {
    gate: Arc<Gate>,
    path: PathBuf,
    options: Options,
    open: Option<Open>,
    /// The last file that was open.
    name: PathBuf,
    /// The period in which it was opened.
    period: i64,
    /// Rotation failed, and is not tried again before then.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    tail: Tail<OwnedFd>,
    device_and_inode: (u64, u64),
    /// Lines and bytes that count for the next rotation.
    lines: u64,
    bytes: u64,
}

impl Log {
    /// Opens the file, or makes it.
    pub(super) fn open(gate: &Arc<Gate>, path: &str, options: Options) -> Result<Self, OpenError> {
        let mut log = Self {
            gate: Arc::clone(gate),
            path: path.into(),
            options,
            open: None,
            name: PathBuf::new(),
            period: 0,
            retry_at: None,
        };
        let now = Zoned::now();
        let name = log.name_at(&now)?;
        let opened = log.open_file(&name)?;
        log.take(opened, name, &now);
        Ok(log)
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Opens the file again if it is not open or has no name any more: it was removed, and what
    /// is written to it would be lost. A file that was renamed is still the one to write to.
    pub(super) fn reopen_if_gone(&mut self) -> Result<(), OpenError> {
        if let Some(open) = &mut self.open {
            match open.tail.size_and_is_gone() {
                Ok((_, false)) => return Ok(()),
                Ok((_, true)) => self.open = None,
                Err(errno) => return Err(failed("cannot look at the file", errno)),
            }
        }
        let now = Zoned::now();
        let name = self.name_at(&now)?;
        let opened = self.open_file(&name)?;
        self.take(opened, name, &now);
        Ok(())
    }

    /// How many lines, and whether one that makes so many bytes more, may be added before the
    /// next rotation.
    pub(super) fn has_room(&self, lines: usize, bytes: usize) -> Result<(), Cause> {
        let Some(open) = self.open.as_ref().filter(|_| self.retry_at.is_none()) else {
            return Ok(());
        };
        let (count, size) = (self.options.rotate_count, self.options.rotate_size);
        if count > 0 && open.lines + lines as u64 >= count {
            return Err(Cause::Count);
        }
        let has_some = open.bytes > 0 || lines > 0;
        if size > 0 && has_some && open.bytes + bytes as u64 > size {
            return Err(Cause::Size);
        }
        Ok(())
    }

    /// Appends the lines; says how many are in the file (and on the disk, if that is asked for),
    /// and why not all.
    pub(super) fn append(&mut self, lines: &Lines) -> (usize, Option<OpenError>) {
        let Some(open) = &mut self.open else {
            return (0, Some(failed("not open", Errno::BADF)));
        };
        let (whole, error) = open.tail.append(lines);
        open.lines += whole as u64;
        open.bytes += lines.end_of(whole) as u64;
        let error = error.map(|errno| failed("cannot write", errno));
        if whole > 0
            && self.options.sync
            && let Err(errno) = open.tail.sync()
        {
            // What the disk has of it is not known, and asking again would not tell.
            return (0, Some(failed("cannot sync", errno)));
        }
        (whole, error)
    }

    /// Closes the file and opens its successor, which has another name if the suffix says so.
    /// When that cannot be opened, the old one stays open, unless it is the policy that forbids it.
    pub(super) fn rotate(&mut self, cause: Cause) -> Result<Rotation, OpenError> {
        let now = Zoned::now();
        let opened = self
            .name_at(&now)
            .and_then(|name| Ok((self.open_file(&name)?, name)));
        match opened {
            Ok((opened, name)) => {
                let old = self.name.clone();
                self.take(opened, name, &now);
                Ok(Rotation {
                    cause,
                    time: now.timestamp().as_second(),
                    old,
                    new: self.name.clone(),
                })
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + RETRY);
                if matches!(error, OpenError::Refused(_)) {
                    self.open = None;
                }
                Err(error)
            }
        }
    }

    /// Whether the period has changed since the file was opened.
    pub(super) fn is_period_over(&self) -> bool {
        self.options.rotate_period > 0
            && self.retry_at.is_none()
            && self.period_of(&Zoned::now()) != self.period
    }

    /// Lets a rotation that failed be tried again, when it is time.
    pub(super) fn forgive(&mut self) {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
        }
    }

    /// When the period may end, or a rotation is to be tried again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.options.rotate_period == 0 {
            return None;
        }
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        let now = Zoned::now().timestamp();
        let end = (self.period + 1) * i64::from(self.options.rotate_period);
        let left = i128::from(end) * 1_000_000_000 - now.as_nanosecond();
        let left = u64::try_from(left.max(0)).map_or(CLOCK_LOOK, Duration::from_nanos);
        Some(Instant::now() + left.min(CLOCK_LOOK))
    }

    fn period_of(&self, now: &Zoned) -> i64 {
        match i64::from(self.options.rotate_period) {
            0 => 0,
            secs => now.timestamp().as_second().div_euclid(secs),
        }
    }

    fn name_at(&self, now: &Zoned) -> Result<PathBuf, OpenError> {
        let suffix = self.options.suffix.at(now).map_err(OpenError::Refused)?;
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        Ok(name.into())
    }

    fn open_file(&self, name: &Path) -> Result<Open, OpenError> {
        let opened = beneath::open(&self.gate, name, self.options.mode)?;
        if opened.is_new && self.options.sync {
            beneath::sync_directory(&self.gate, name)?;
        }
        let stat = fstat(&opened.file).map_err(|errno| failed("cannot look at the file", errno))?;
        let (mut tail, half) =
            Tail::open(opened.file).map_err(|errno| failed("cannot read the last line", errno))?;
        if half > 0 {
            tracing::warn!(file = %name.display(), bytes = half, "took half a line back");
        }
        let size = tail.size_and_is_gone().map_or(0, |(size, _)| size);
        Ok(Open {
            tail,
            device_and_inode: (stat.st_dev, stat.st_ino),
            lines: 0,
            bytes: size,
        })
    }

    fn take(&mut self, mut opened: Open, name: PathBuf, now: &Zoned) {
        let before = self.open.as_ref().map(|open| open.device_and_inode);
        if before == Some(opened.device_and_inode) {
            // Nobody moved it: it goes on, and is counted anew.
            opened.bytes = 0;
        }
        self.open = Some(opened);
        self.name = name;
        self.period = self.period_of(now);
        self.retry_at = None;
    }
}

fn failed(what: &str, errno: Errno) -> OpenError {
    OpenError::Failed(errno, format!("{what}: {}", beneath::text(errno)))
}
