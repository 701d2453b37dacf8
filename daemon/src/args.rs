//! The command line, as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use bellwire::EventName;
use bellwire::event::catalogue::CATALOGUE;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use tracing::level_filters::LevelFilter;

use crate::client::{Address, Client};
use crate::settings::HttpListen;

/// Longest lifetime that the management interface takes, in seconds (a C `int`, as in OpenSIPS).
const EXPIRE_MAX_SECS: i64 = i32::MAX as i64;

/// Dispatches events for proxies: one raises, every subscriber hears.
#[derive(Debug, Parser)]
#[command(name = "bellwire", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// How much is said on standard error.
    #[arg(long, global = true, value_enum, value_name = "LEVEL", default_value_t = Log::Info)]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Log {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Log> for LevelFilter {
    fn from(log: Log) -> Self {
        match log {
            Log::Off => Self::OFF,
            Log::Error => Self::ERROR,
            Log::Warn => Self::WARN,
            Log::Info => Self::INFO,
            Log::Debug => Self::DEBUG,
            Log::Trace => Self::TRACE,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon: take events, fan them out, answer who subscribes.
    Serve(Serve),
    /// Check a configuration file and print what it comes to.
    Config(Config),
    /// Subscribe a socket to an event, or refresh its subscription.
    Subscribe(Subscribe),
    /// End a subscription.
    Unsubscribe(Unsubscribe),
    /// List the events there are.
    #[command(after_long_help = catalogue())]
    Events(Events),
    /// List who is subscribed.
    Subscribers(Subscribers),
    /// Raise an event.
    #[command(after_long_help = catalogue())]
    Raise(Raise),
    /// Print the counters.
    Stats(Stats),
    /// Subscribe to events and print each as it arrives, until Ctrl-C.
    #[command(after_long_help = catalogue())]
    Listen(Listen),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration; without one, defaults hold.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where HTTP listens (`address:port` or `off`), whatever the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<HttpListen>,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    /// The configuration; without one, the defaults are printed.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Where the daemon is, and how its answer is shown.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// Where a daemon listens: http://host:port/mi, unix:path, udp:host:port or fifo:path.
    /// Without it, the socket in the run directory.
    #[arg(long, value_name = "ADDRESS")]
    mi: Option<Address>,
    /// How long to wait for an answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// Print the answer as JSON, for machines.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Asking {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.mi.clone(), self.timeout)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// One of those that `bellwire events` lists.
    pub(crate) event: EventName,
    /// Where its events go: `udp:host:port`, `unix:/path` …
    pub(crate) socket: String,
    /// How long it lasts without being refreshed, in seconds; the daemon's default is 3600.
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = value_parser!(i64).range(1..=EXPIRE_MAX_SECS))]
    pub(crate) expire: Option<i64>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Unsubscribe {
    /// As it was subscribed.
    pub(crate) event: EventName,
    /// As it was subscribed.
    pub(crate) socket: String,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Subscribers {
    /// Only those of this event.
    pub(crate) event: Option<EventName>,
    /// Only this one.
    pub(crate) socket: Option<String>,
    /// Say also what became of each subscriber's events.
    #[arg(long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Raise {
    /// One of those that `bellwire events` lists.
    pub(crate) event: EventName,
    /// `name=text`, or `name:=json` for a number, `true`, `false` or `null`; texts without a name
    /// (`=text`) make an event with positional parameters.
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// Refuse parameters that are not those of the catalogue: their names, order and types.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Counters (`evi:raised`) or groups of them (`evi:`); all without any.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print them again every second, with what was added, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// One or more of those that `bellwire events` lists.
    #[arg(required = true, value_name = "EVENT")]
    pub(crate) events: Vec<EventName>,
    /// Where to receive: `udp:address:port` or `unix:path`. Without it, a UNIX socket in the run
    /// directory.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) socket: Option<crate::settings::Listen>,
    /// How long a subscription outlives us should we be killed, in seconds; it is renewed in time.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = value_parser!(u32).range(2..=86_400))]
    pub(crate) expire: u32,
    /// End after this many events.
    #[arg(long, value_name = "EVENTS")]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && seconds <= 3600.0 => Ok(time),
        _ => Err("not between 0 and 3600 seconds".to_owned()),
    }
}

/// The events known at the start, for the help.
fn catalogue() -> String {
    let mut text = String::from("Events known from the start, with their parameters:\n");
    for event in CATALOGUE {
        text += &format!("  {event}\n      {}\n", event.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
        let version = Arguments::command().render_version();
        assert_eq!(version, format!("bellwire {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn help_tells_the_catalogue() {
        let mut command = Arguments::command();
        let raise = command.find_subcommand_mut("raise").unwrap();
        assert!(
            raise
                .render_long_help()
                .to_string()
                .contains("E_PIKE_BLOCKED")
        );
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "-1", "nan", "inf", "3601", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
