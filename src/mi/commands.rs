//! The commands: their names, their recipes, and who runs them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::about;
use super::answer::Answer;
use super::failure::Failure;
use super::listing;
use super::raise;
use super::recipe::Arguments;
use super::recipe::Recipe;
use super::request;
use super::request::Malformed;
use super::request::Request;
use super::statistics;
use super::subscribe;
use super::text;
use crate::engine::Handle;
use crate::sync::Mutex;

/// What the commands may do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Whether subscribing to, or raising, an event that nobody declared declares it. OpenSIPS
    /// refuses it, and so do we by default.
    pub declare_unknown: bool,
}

/// The management commands over one engine. Cheap to clone; any thread may run them.
///
/// A request is one JSON-RPC 2.0 object. Each command answers to its OpenSIPS 4.0 name
/// (`evi:subscribe`), to its older name (`event_subscribe`), and to the part behind the colon as
/// long as no other command shares it.
#[derive(Clone)]
pub struct Commands {
    pub(super) context: Arc<Context>,
}

/// What running commands share.
pub(super) struct Context {
    pub(super) handle: Handle,
    pub(super) options: Options,
    pub(super) started: SystemTime,
    pub(super) statistics: Mutex<Vec<Provider>>,
}

/// Gives further statistics: names with their group (`ingest:received`), and their values.
pub type Provider = Arc<dyn Fn() -> Vec<(String, u64)> + Send + Sync>;

/// What became of a JSON-RPC request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was a notification: it was run, and nothing is answered.
    Silent,
    /// The JSON text to answer with.
    Json(Vec<u8>),
    /// It was not JSON. Each transport has its own words for that; over HTTP it is the JSON text
    /// that [`Reply::into_json`] gives.
    Malformed,
}

impl Reply {
    /// The JSON text to answer with; `None` to answer nothing.
    pub fn into_json(self) -> Option<Vec<u8>> {
        match self {
            Self::Silent => None,
            Self::Json(text) => Some(text),
            Self::Malformed => Some(request::refusal(
                &Failure::command(-32700, "Parse error"),
                &request::Id::Null,
            )),
        }
    }
}

impl Commands {
    /// The commands of that engine.
    pub fn new(handle: Handle, options: Options) -> Self {
        let started = SystemTime::now();
        let statistics = Mutex::new(Vec::new());
        Self {
            context: Arc::new(Context {
                handle,
                options,
                started,
                statistics,
            }),
        }
    }

    /// Adds statistics to what `get_statistics` lists, for all clones of these commands.
    pub fn with_statistics(self, provider: Provider) -> Self {
        self.add_statistics(provider);
        self
    }

    pub(super) fn add_statistics(&self, provider: Provider) {
        self.context.providers().push(provider);
    }

    /// Runs one JSON-RPC request and gives the text that answers it.
    ///
    /// Subscribing a socket that names a host looks the name up first, which can take up to
    /// [`limits::RESOLVE_TIME`](crate::limits::RESOLVE_TIME); everything else returns at once.
    pub fn answer(&self, request: &[u8]) -> Reply {
        match Request::parse(request) {
            Ok(request) => self.run(request),
            Err(Malformed::Syntax(_)) => Reply::Malformed,
            Err(malformed) => Reply::Json(malformed.answer()),
        }
    }

    /// Runs one request in the text form of OpenSIPS 1.x and 2.x, without the line that names the
    /// reply FIFO: `:command:` and a newline, then a line for each parameter. An empty line or
    /// the end of the request closes it.
    pub fn answer_text(&self, request: &[u8]) -> Vec<u8> {
        text::answer(self, request)
    }

    /// Runs a request that was read already.
    pub(super) fn run(&self, request: Request) -> Reply {
        let outcome = find(&request.method).and_then(|command| {
            let arguments = request.params.fit(command.recipes)?;
            (command.run)(&self.context, &arguments)
        });
        match request.id {
            None => Reply::Silent,
            Some(id) => Reply::Json(request::reply(&outcome, &id)),
        }
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Commands")
            .field("options", &self.context.options)
            .finish_non_exhaustive()
    }
}

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    /// Its name since 4.0, with its group.
    pub(super) name: &'static str,
    /// Its name before.
    pub(super) old: &'static str,
    pub(super) recipes: &'static [Recipe],
    /// What the text form does with more lines than the longest recipe has places.
    pub(super) rest: text::Rest,
    pub(super) run: fn(&Context, &Arguments) -> Result<Answer, Failure>,
}

impl Command {
    /// The part of the name behind the group.
    fn local(&self) -> &'static str {
        self.name
            .split_once(':')
            .map_or(self.name, |(_, local)| local)
    }
}

/// All commands, in the order in which `which` tells them.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "statistics:get",
        old: "get_statistics",
        recipes: &[&["statistics"]],
        rest: text::Rest::List,
        run: statistics::get,
    },
    Command {
        name: "statistics:list",
        old: "list_statistics",
        recipes: &[&[], &["statistics"]],
        rest: text::Rest::List,
        run: statistics::list,
    },
    Command {
        name: "core:uptime",
        old: "uptime",
        recipes: &[&[]],
        rest: text::Rest::Refused,
        run: about::uptime,
    },
    Command {
        name: "core:version",
        old: "version",
        recipes: &[&[]],
        rest: text::Rest::Refused,
        run: about::version,
    },
    Command {
        name: "core:which",
        old: "which",
        recipes: &[&[], &["command"]],
        rest: text::Rest::Refused,
        run: about::which,
    },
    Command {
        name: "evi:subscribe",
        old: "event_subscribe",
        recipes: &[&["event", "socket"], &["event", "socket", "expire"]],
        rest: text::Rest::Refused,
        run: subscribe::subscribe,
    },
    Command {
        name: "evi:list",
        old: "events_list",
        recipes: &[&[]],
        rest: text::Rest::Refused,
        run: listing::events,
    },
    Command {
        name: "evi:subscribers",
        old: "subscribers_list",
        recipes: &[&[], &["event"], &["event", "socket"]],
        rest: text::Rest::Refused,
        run: listing::subscribers,
    },
    Command {
        name: "evi:subscriptions",
        old: "subscriptions_list",
        recipes: &[&[], &["event"], &["event", "socket"]],
        rest: text::Rest::Refused,
        run: listing::subscriptions,
    },
    Command {
        name: "evi:raise",
        old: "raise_event",
        recipes: &[&["event"], &["event", "params"]],
        rest: text::Rest::Params,
        run: raise::raise,
    },
];

/// The command of that name: the new one, the old one, or the part behind the group.
pub(super) fn find(name: &str) -> Result<&'static Command, Failure> {
    if let Some(command) = COMMANDS
        .iter()
        .find(|command| command.name == name || command.old == name)
    {
        return Ok(command);
    }
    let mut local = COMMANDS.iter().filter(|command| command.local() == name);
    match (local.next(), local.next()) {
        (None, _) => Err(Failure::method_not_found()),
        (Some(command), None) => Ok(command),
        (Some(_), Some(_)) => {
            let names: Vec<_> = COMMANDS
                .iter()
                .filter(|command| command.local() == name)
                .map(|command| command.name)
                .collect();
            let data = format!("supported names: {}", names.join(", "));
            Err(Failure::because(-32001, "Method ambiguous", data))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_answers_to_its_three_names() {
        for name in ["evi:subscribe", "event_subscribe", "subscribe"] {
            assert_eq!(find(name).unwrap().name, "evi:subscribe");
        }
        for name in ["get", "raise", "subscribers", "uptime", "version", "which"] {
            assert_eq!(find(name).unwrap().local(), name);
        }
    }

    #[test]
    fn a_local_name_that_two_groups_have_is_ambiguous() {
        let failure = find("list").unwrap_err();
        assert_eq!(
            (failure.code, failure.message),
            (-32001, "Method ambiguous")
        );
        assert_eq!(
            failure.data.unwrap(),
            "supported names: statistics:list, evi:list"
        );
    }

    #[test]
    fn other_names_are_not_found() {
        for name in [
            "",
            "no_such_cmd",
            "evi:",
            ":subscribe",
            "core:subscribe",
            "EVI:LIST",
            "evi",
        ] {
            assert_eq!(
                find(name).unwrap_err(),
                Failure::method_not_found(),
                "{name}"
            );
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|c| [c.name, c.old]).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
