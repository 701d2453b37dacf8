//! A script that was loaded: its state, its routes and its timers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bellwire::{EventName, Handle, Occurrence, Reason};
use mlua::{Function, IntoLuaMulti, Lua, Table, Value};

use super::counters::Counters;
use super::functions::{self, Lines, Timers, Tools, one_line};
use super::guard::{Guard, Limits, Phase};
use super::occurrence::Seen;
use super::sandbox;

/// The text of a script, where it stands, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) limits: Limits,
}

/// A script in a state of its own.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) code: Arc<Code>,
    lua: Lua,
    guard: Arc<Guard>,
    routes: BTreeMap<String, Function>,
    startup: Option<Function>,
    pub(super) timers: Timers,
}

/// How a run ended that did not come to its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The script made an error.
    Error,
    /// The guard stopped it.
    Runaway,
    /// It wanted more memory than it may have.
    Memory,
    /// The event's route is not in the script (any more).
    Missing,
}

impl Kind {
    /// Why the event counts as dropped.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Error | Self::Memory => Reason::Rejected,
            Self::Runaway => Reason::Unanswered,
            Self::Missing => Reason::Unreachable,
        }
    }
}

impl Program {
    /// Loads a script: runs it, so that it defines its routes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with its line.
    pub(super) fn load(
        code: &Arc<Code>,
        handle: &Handle,
        counters: &Counters,
    ) -> Result<Self, String> {
        let failed = |error: mlua::Error| text_of(&error);
        // An error of the guard closes the variables of its function before it leaves the hook,
        // that is with the guard off.
        if let Some((line, _)) = (1..)
            .zip(code.text.lines())
            .find(|(_, l)| l.contains("__close"))
        {
            let path = code.path.display();
            return Err(format!(
                "{path}:{line}: a script cannot have closers (__close)"
            ));
        }
        let (lua, guard) = sandbox::open(&code.limits).map_err(failed)?;
        let tools = Tools {
            handle: handle.clone(),
            guard: Arc::clone(&guard),
            counters: counters.clone(),
            timers: Timers::default(),
            lines: Lines::default(),
        };
        guard.begin(Phase::Loading);
        let given = functions::table(&lua, &tools).map_err(failed)?;
        let loaded = sandbox::furnish(&lua, &guard, given).map_err(failed)?;
        let run = lua
            .load(&code.text)
            .set_name(format!("@{}", code.path.display()))
            .set_mode(mlua::chunk::ChunkMode::Text)
            .exec();
        if let Some(stop) = guard.end() {
            return Err(format!("{}: {stop}", code.path.display()));
        }
        run.map_err(failed)?;
        let refuse = |problem| format!("{}: {problem}", code.path.display());
        let routes = routes(&lua).map_err(refuse)?;
        let startup = startup(&lua).map_err(refuse)?;
        loaded.call::<()>(()).map_err(failed)?;
        Ok(Self {
            code: Arc::clone(code),
            lua,
            guard,
            routes,
            startup,
            timers: tools.timers,
        })
    }

    /// The events that it has routes for.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.keys().map(String::as_str)
    }

    /// Runs the route of that name.
    pub(super) fn run_route(&self, route: &str, occurrence: Occurrence) -> Result<(), Ended> {
        let Some(function) = self.routes.get(route) else {
            return Err(Ended {
                kind: Kind::Missing,
                text: "the script has no such route".to_owned(),
            });
        };
        let seen = match self.lua.create_userdata(Seen(occurrence)) {
            Ok(seen) => seen,
            Err(error) => return Err(ended(&error)),
        };
        let outcome = self.call(function, &seen);
        // A script that kept it keeps nothing.
        if let Err(error) = seen.destroy() {
            tracing::debug!("script: {error}");
        }
        outcome
    }

    /// Runs `startup_route`, if there is one.
    pub(super) fn run_startup(&self) -> Option<Result<(), Ended>> {
        self.timers.start(Instant::now());
        let startup = self.startup.as_ref()?;
        Some(self.call(startup, ()))
    }

    /// Runs a function of the script.
    pub(super) fn call(&self, function: &Function, with: impl IntoLuaMulti) -> Result<(), Ended> {
        self.guard.begin(Phase::Running);
        let outcome = function.call::<()>(with);
        match (self.guard.end(), outcome) {
            (Some(stop), _) => Err(Ended {
                kind: Kind::Runaway,
                text: stop.to_string(),
            }),
            (None, Err(error)) => Err(ended(&error)),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Whether it keeps so much memory that it cannot go on.
    pub(super) fn is_full(&self) -> bool {
        let collected = self.lua.gc_collect();
        collected.is_err() || self.lua.used_memory() > self.code.limits.memory_bytes / 4 * 3
    }
}

/// The functions in the table `event_route`.
fn routes(lua: &Lua) -> Result<BTreeMap<String, Function>, String> {
    let table: Value = lua.globals().raw_get("event_route").unwrap_or(Value::Nil);
    let Value::Table(table) = table else {
        return Err(format!(
            "event_route is a {}, not a table",
            table.type_name()
        ));
    };
    let mut routes = BTreeMap::new();
    for pair in Table::pairs::<Value, Value>(&table) {
        let (name, function) = pair.map_err(|error| text_of(&error))?;
        let Value::String(name) = &name else {
            let kind = name.type_name();
            return Err(format!(
                "a route in event_route is named by a {kind}, not a string"
            ));
        };
        let name = name.to_string_lossy();
        EventName::new(&name).map_err(|error| format!("event_route[{name:?}]: {error}"))?;
        let Value::Function(function) = function else {
            let kind = function.type_name();
            return Err(format!("event_route[{name:?}] is a {kind}, not a function"));
        };
        routes.insert(name, function);
    }
    Ok(routes)
}

fn startup(lua: &Lua) -> Result<Option<Function>, String> {
    match lua.globals().raw_get("startup_route").unwrap_or(Value::Nil) {
        Value::Nil => Ok(None),
        Value::Function(function) => Ok(Some(function)),
        other => {
            let kind = other.type_name();
            Err(format!("startup_route is a {kind}, not a function"))
        }
    }
}

fn ended(error: &mlua::Error) -> Ended {
    let kind = match is_memory(error) {
        true => Kind::Memory,
        false => Kind::Error,
    };
    let text = text_of(error);
    Ended { kind, text }
}

fn is_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        // What the string library says of a text that is too long.
        mlua::Error::RuntimeError(text) => {
            let first = text.lines().next().unwrap_or_default();
            first.ends_with("not enough memory") || first.ends_with("resulting string too large")
        }
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => {
            is_memory(cause)
        }
        _ => false,
    }
}

/// What is wrong, in one line and without the way there.
fn text_of(error: &mlua::Error) -> String {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::RuntimeError(message) => message.clone(),
        mlua::Error::CallbackError { cause, .. } => return text_of(cause),
        other => other.to_string(),
    };
    let message = text.split("\nstack traceback").next().unwrap_or_default();
    one_line(message.trim_end())
}
