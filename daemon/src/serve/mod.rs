//! `bellwire serve`: the daemon's life, from its first line to its last.
//!
//! `daemon` holds everything that runs, `announce` is what it says of itself, `reload` what SIGHUP
//! changes.

mod announce;
mod daemon;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
#[allow(clippy::disallowed_types, reason = "what signal-hook takes")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use self::daemon::Daemon;
use crate::args;
use crate::failure::Failure;
use crate::rundir;
use crate::settings::{self, HttpListen, Settings};

/// Runs until SIGTERM or SIGINT, then drains.
pub(crate) fn serve(args: &args::Serve) -> Result<(), Failure> {
    // First of all, so that a signal during the start is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Failure::new(format!("signals: {error}")))?;
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::clone(&told))
            .map_err(|error| Failure::new(format!("signals: {error}")))?;
    }
    let begun = Instant::now();
    let source = Source::new(args.config.as_ref(), args.http);
    let settings = source.read()?;
    let dir = rundir::path();
    rundir::prepare(&dir)?;
    let _lock = rundir::lock(&dir)?;
    rundir::sweep(&dir);
    lift_descriptor_limit();

    let mut daemon = Daemon::start(settings, &dir, &source, told)?;
    announce::start(&daemon, &dir);
    tell_systemd(&[NotifyState::Ready]);
    let stopping = exit_at_second_interrupt()?;
    for signal in signals.forever() {
        match signal {
            SIGHUP => reload(&mut daemon, &source),
            _ => break,
        }
    }
    stopping.store(true, Ordering::Relaxed);
    tell_systemd(&[NotifyState::Stopping]);
    let stats = daemon.stop();
    announce::end(&stats, begun.elapsed());
    Ok(())
}

/// Who is told to stop and may drain for an hour must still hear Ctrl-C: once the flag is set, it
/// ends the process on the spot, with exit code 1.
fn exit_at_second_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let stopping = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 1, Arc::clone(&stopping))
        .map_err(|error| Failure::new(format!("signals: {error}")))?;
    Ok(stopping)
}

/// Reads a file as `serve` does, and says what it would refuse in it.
pub(crate) fn check(file: Option<&PathBuf>) -> Result<Settings, Failure> {
    let source = Source::new(file, None);
    let settings = source.read()?;
    daemon::check(&settings, &source)?;
    Ok(settings)
}

/// Where settings come from: the file, and what the command line says over it.
#[derive(Debug)]
struct Source {
    file: Option<PathBuf>,
    http: Option<HttpListen>,
}

impl Source {
    fn new(file: Option<&PathBuf>, http: Option<HttpListen>) -> Self {
        // Absolute, so that every message names it in full.
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Self {
            file: file.map(absolute),
            http,
        }
    }

    fn read(&self) -> Result<Settings, Failure> {
        let mut settings = settings::load(self.file.as_deref())?;
        if let Some(http) = self.http {
            settings.mi.http.listen = http;
        }
        Ok(settings)
    }

    /// Where the configuration is: what it names is relative to that.
    fn dir(&self) -> &Path {
        let dir = self.file.as_deref().and_then(Path::parent);
        dir.unwrap_or(Path::new(""))
    }

    /// The subscription that begins on this line of the file, for messages.
    fn line(&self, line: usize) -> String {
        match &self.file {
            Some(file) => format!("{}:{line}", file.display()),
            None => format!("line {line}"),
        }
    }
}

fn reload(daemon: &mut Daemon, source: &Source) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd: {error}"),
    }
    match source
        .read()
        .and_then(|settings| daemon.reload(settings, source))
    {
        Ok(change) => tracing::info!("reloaded: {change}"),
        Err(failure) => tracing::error!("nothing reloaded: {failure}"),
    }
    tell_systemd(&[NotifyState::Ready]);
}

/// Tells systemd, if it started us and wants to know.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd: {error}");
    }
}

/// Every UNIX receiver costs a descriptor, and the usual soft limit is 1024.
fn lift_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    ) {
        tracing::warn!("the limit of open files stays at {current:?}: {error}");
    }
}
