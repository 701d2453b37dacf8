//! A Lua state that reaches nothing outside but what it is given.

use std::sync::Arc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, VmState};

use super::guard::{Guard, Limits, STEP};

/// Makes the rest of the libraries safe: what it does stands there.
const PRELUDE: &str = include_str!("prelude.lua");

/// A state with the safe part of the standard library, and its guard.
pub(super) fn open(limits: &Limits) -> mlua::Result<(Lua, Arc<Guard>)> {
    let libraries = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::MATH
        | StdLib::OS;
    // No callback of ours panics; the plain `pcall` lets coroutines yield through it.
    let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
    lua.set_memory_limit(limits.memory_bytes)?;
    let guard = Arc::new(Guard::new(*limits));
    let watch = Arc::clone(&guard);
    // New coroutines take the hook of who makes them.
    let every = HookTriggers::new().every_nth_instruction(STEP);
    lua.set_global_hook(every, move |_, _| match watch.step() {
        None => Ok(VmState::Continue),
        Some(stop) => Err(mlua::Error::runtime(stop)),
    })?;
    Ok((lua, guard))
}

/// Closes what the libraries leave open, and puts the given functions in. What it returns is to
/// be called when the script was loaded.
pub(super) fn furnish(lua: &Lua, guard: &Arc<Guard>, given: Table) -> mlua::Result<Function> {
    let guard = Arc::clone(guard);
    let stopped = lua.create_function(move |_, ()| Ok(guard.is_stopped()))?;
    lua.globals().set("null", mlua::Value::NULL)?;
    lua.load(PRELUDE)
        .set_name("=prelude")
        .call::<Function>((stopped, given))
}
