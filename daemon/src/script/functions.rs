//! What a script may call. Each gives `true` and its results, or `false` and what is wrong with
//! the call, which the prelude makes an error at the caller's line.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bellwire::{EventName, Expire, Handle, Raised, Reason};
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};
use tracing::Level;

use super::counters::Counters;
use super::guard::{Guard, Phase};
use super::matching;
use super::params::{Given, text_of};

/// Most lines that a script logs in a second.
const LINES: u32 = 100;
/// Most timers of one script.
const TIMERS: usize = 256;
/// Shortest and longest period of a timer, in seconds.
const PERIOD: std::ops::RangeInclusive<f64> = 0.001..=86_400.0 * 365.0;
/// Most events that scripts declare by their names while the daemon runs.
const DECLARED: u64 = 1024;
/// Longest text of one line in the log, in characters.
const LOG_CHARS: usize = 4096;

/// What is done every so often.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) period: Duration,
    pub(super) due: Instant,
    pub(super) function: Function,
}

/// The timers of one script.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers(Arc<Mutex<Vec<Timer>>>);

impl Timers {
    /// When the first is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.with(|timers| timers.iter().map(|timer| timer.due).min())
    }

    /// Takes the one that has been due for longest, with its place, if one is due at that time:
    /// once, however many periods have passed.
    pub(super) fn take_due(&self, now: Instant) -> Option<(usize, Function)> {
        self.with(|timers| {
            let due = timers.iter_mut().enumerate();
            let due = due.filter(|(_, timer)| timer.due <= now);
            let (place, timer) = due.min_by_key(|(_, timer)| timer.due)?;
            timer.due += timer.period;
            Some((place, timer.function.clone()))
        })
    }

    /// It has run. One that is late by then begins a new period, so that it is not due at once.
    pub(super) fn ran(&self, place: usize, now: Instant) {
        self.with(|timers| {
            if let Some(timer) = timers.get_mut(place)
                && timer.due <= now
            {
                timer.due = now + timer.period;
            }
        });
    }

    /// Their first periods begin.
    pub(super) fn start(&self, now: Instant) {
        self.with(|timers| {
            for timer in timers {
                timer.due = now + timer.period;
            }
        });
    }

    fn with<R>(&self, act: impl FnOnce(&mut Vec<Timer>) -> R) -> R {
        // Its entries are replaced whole.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the functions act on.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) handle: Handle,
    pub(super) guard: Arc<Guard>,
    pub(super) counters: Counters,
    pub(super) timers: Timers,
    pub(super) lines: Lines,
}

/// The lines that a script has logged lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<Second>>);

/// One second of them: since when, how many were logged, and how many were not.
#[derive(Debug, Default)]
struct Second {
    begun: Option<Instant>,
    logged: u32,
    held_back: u64,
}

impl Lines {
    /// Whether one more may be logged, and then how many before it were not.
    fn may_log(&self, now: Instant) -> Option<u64> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |begun| now.saturating_duration_since(begun) >= Duration::from_secs(1);
        if second.begun.is_none_or(over) {
            (second.begun, second.logged) = (Some(now), 0);
        }
        if second.logged == LINES {
            second.held_back += 1;
            return None;
        }
        second.logged += 1;
        Some(std::mem::take(&mut second.held_back))
    }
}

/// A table of the functions.
pub(super) fn table(lua: &Lua, tools: &Tools) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let add = |name: &str, call: fn(&Lua, &Tools, &MultiValue) -> Result<MultiValue, String>| {
        let tools = tools.clone();
        let named = name.to_owned();
        let function = lua.create_function(move |lua, arguments: MultiValue| {
            match call(lua, &tools, &arguments) {
                Ok(mut results) => {
                    results.push_front(Value::Boolean(true));
                    Ok(results)
                }
                Err(problem) => (false, format!("{named}: {problem}")).into_lua_multi(lua),
            }
        })?;
        table.set(name, function)
    };
    add("raise_event", raise_event)?;
    add("subscribe_event", subscribe_event)?;
    add("timer_route", timer_route)?;
    add("log", log)?;
    let guard = Arc::clone(&tools.guard);
    let charge = move |_: &Lua, count: i64| match guard.charge(u64::try_from(count).unwrap_or(0)) {
        None => Ok(()),
        Some(stop) => Err(mlua::Error::runtime(stop)),
    };
    table.set("charge", lua.create_function(charge)?)?;
    matching::add(lua, tools, &table)?;
    Ok(table)
}

/// `raise_event(name [, params])`: true, or false and the reason for which it was dropped.
fn raise_event(lua: &Lua, tools: &Tools, arguments: &MultiValue) -> Result<MultiValue, String> {
    let name = text(arguments, 0, "the event")?;
    tools.must_run()?;
    let given = Given::read(arguments.get(1).unwrap_or(&Value::Nil))?;
    let event = match tools.handle.event(&name) {
        Some(event) => event,
        // The names in a script are known events, as in OpenSIPS.
        None => {
            tools.may_declare()?;
            let declared = tools.handle.declare(&name);
            tools.counters.count().declared += u64::from(declared.is_ok());
            declared.map_err(|error| error.to_string())?
        }
    };
    let raised = event.raise(|params| given.write(params));
    if raised == Raised::Dropped(Reason::Nested) {
        tools.counters.count().nested += 1;
    }
    Ok(match raised {
        Raised::Queued | Raised::Unheard => [Value::Boolean(true)].into_iter().collect(),
        Raised::Dropped(reason) => refusal(lua, reason.name())?,
    })
}

/// `subscribe_event(event, socket [, expire])`: true, or false and why not.
fn subscribe_event(lua: &Lua, tools: &Tools, arguments: &MultiValue) -> Result<MultiValue, String> {
    let event = text(arguments, 0, "the event")?;
    let socket = text(arguments, 1, "the socket")?;
    let expire = match arguments.get(2) {
        None | Some(Value::Nil) => Expire::Never,
        Some(Value::Integer(secs)) => match u32::try_from(*secs) {
            Ok(secs) => Expire::after_secs(secs),
            Err(_) => return Err(format!("expire is {secs}, not a number of seconds")),
        },
        Some(other) => {
            return Err(format!(
                "expire is a {}, not whole seconds",
                other.type_name()
            ));
        }
    };
    tools.must_run()?;
    let is_new = tools.handle.event(&event).is_none();
    if is_new {
        EventName::new(&event).map_err(|error| error.to_string())?;
        tools.may_declare()?;
    }
    let begun = Instant::now();
    let subscribed = match is_new {
        true => tools.handle.subscribe_declaring(&event, &socket, expire),
        false => tools.handle.subscribe(&event, &socket, expire),
    };
    tools.guard.excuse(begun.elapsed());
    let is_declared = is_new && tools.handle.event(&event).is_some();
    tools.counters.count().declared += u64::from(is_declared);
    match subscribed {
        Ok(()) => Ok([Value::Boolean(true)].into_iter().collect()),
        Err(error) => refusal(lua, &error.to_string()),
    }
}

/// `timer_route(seconds, function)`
fn timer_route(_: &Lua, tools: &Tools, arguments: &MultiValue) -> Result<MultiValue, String> {
    let seconds = match arguments.front() {
        Some(Value::Integer(seconds)) => *seconds as f64,
        Some(Value::Number(seconds)) => *seconds,
        other => return Err(format!("the period is {}, not seconds", kind(other))),
    };
    if !PERIOD.contains(&seconds) {
        let (least, most) = (PERIOD.start(), PERIOD.end());
        return Err(format!(
            "{seconds} s is out of range; {least} to {most} is taken"
        ));
    }
    let Some(Value::Function(function)) = arguments.get(1) else {
        return Err(format!(
            "what it runs is {}, not a function",
            kind(arguments.get(1))
        ));
    };
    let period = Duration::from_secs_f64(seconds);
    let timer = Timer {
        period,
        due: Instant::now() + period,
        function: function.clone(),
    };
    tools.timers.with(|timers| match timers.len() {
        TIMERS => Err(format!("there are {TIMERS} timers already")),
        _ => {
            timers.push(timer);
            Ok(MultiValue::new())
        }
    })
}

/// `log([level,] text)`
fn log(_: &Lua, tools: &Tools, arguments: &MultiValue) -> Result<MultiValue, String> {
    let (level, text) = match arguments.len() {
        0 => return Err("there is no text".to_owned()),
        1 => (Level::INFO, arguments.front()),
        _ => {
            let level = text(arguments, 0, "the level")?;
            let known = [
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("info", Level::INFO),
                ("debug", Level::DEBUG),
            ];
            let found = known.iter().find(|(name, _)| *name == level);
            let (_, level) = found.ok_or_else(|| {
                format!("{level:?} is no level; there are error, warn, info, debug")
            })?;
            (*level, arguments.get(1))
        }
    };
    let Some(held_back) = tools.lines.may_log(Instant::now()) else {
        tools.counters.count().unlogged += 1;
        return Ok(MultiValue::new());
    };
    if held_back > 0 {
        tracing::warn!("script: {held_back} lines were too many in a second and are not here");
    }
    let text = text.map_or(Ok("nil".to_owned()), Value::to_string);
    say(level, &text.map_err(|error| error.to_string())?);
    Ok(MultiValue::new())
}

/// A line of the script in the log.
fn say(level: Level, text: &str) {
    let text = one_line(text);
    match level {
        Level::ERROR => tracing::error!("script: {text}"),
        Level::WARN => tracing::warn!("script: {text}"),
        Level::INFO => tracing::info!("script: {text}"),
        _ => tracing::debug!("script: {text}"),
    }
}

/// The text without what would begin a line, or a line of somebody else's.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LOG_CHARS));
    for (count, c) in text.chars().enumerate() {
        match c {
            _ if count == LOG_CHARS => {
                line.push('…');
                break;
            }
            '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

fn text(arguments: &MultiValue, place: usize, what: &str) -> Result<String, String> {
    match arguments.get(place) {
        Some(Value::String(text)) => text_of(text, what),
        other => Err(format!("{what} is {}, not a string", kind(other))),
    }
}

/// What somebody gave instead.
fn kind(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Nil) => "nil".to_owned(),
        Some(value) => format!("a {}", value.type_name()),
    }
}

impl Tools {
    /// The engine has a limited number of events, and what is declared stays: a script that makes
    /// names of what it is told must leave some to others.
    fn may_declare(&self) -> Result<(), String> {
        match self.counters.count().declared {
            DECLARED.. => Err(format!("the script has declared {DECLARED} events already")),
            _ => Ok(()),
        }
    }

    /// Loading a script changes nothing outside: it may be refused.
    fn must_run(&self) -> Result<(), String> {
        match self.guard.phase() {
            Phase::Running => Ok(()),
            Phase::Loading => {
                Err("not while the script is loaded; call it in startup_route".to_owned())
            }
        }
    }
}

/// `false` and why.
fn refusal(lua: &Lua, why: &str) -> Result<MultiValue, String> {
    let refusal = (false, why).into_lua_multi(lua);
    refusal.map_err(|error| error.to_string())
}
