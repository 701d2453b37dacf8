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
    lua.set_global_hook(every, move |_, _| match watch.charge(STEP.into()) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bellwire::{Config, Engine};

    use super::super::counters::Counters;
    use super::super::functions::{self, Lines, Timers, Tools};
    use super::super::guard::Phase;
    use super::*;

    const LIMITS: Limits = Limits {
        memory_bytes: 64 << 20,
        instructions: u64::MAX,
        time: Duration::from_secs(3600),
    };

    /// Says what the functions of the string library do with each text, pattern and replacement.
    const SCRIPT: &str = r##"
        local texts = { "", "a", "hello world", "one;two;;three", "  x  ", "k=v, k2=v2", "((a)b)" }
        local patterns = {
            "", "a", ".", "%w+", "(%w+)", "()", "(%w)(%w*)", "^%w", "%w$", "^", "$", "x*", ".-",
            "(.-);", "%s*", "(%w+)=(%w+)", "%b()", "%f[%w]%w+", "[^;]*", "%", "[a", "%1", "(a)%1",
        }
        local by = {
            "", "<%0>", "<%1>", "%%", "%2%1", "%", "%x", { a = 1, one = "1", hello = false },
            string.upper, function() end, function(a, b) return (b or a) .. "!" end,
            function() return {} end, function(...) return select("#", ...) end, 5,
        }
        local out = {}
        local function note(what, ok, ...)
            local list = { what, tostring(ok) }
            for i = 1, select("#", ...) do
                list[#list + 1] = ok and tostring((select(i, ...))) or ""
            end
            out[#out + 1] = table.concat(list, "|")
        end
        for t, s in ipairs(texts) do
            for n, p in ipairs(patterns) do
                local what = t .. "," .. n
                for _, init in ipairs { 1, 2, -1, 0, 100, -100 } do
                    note("find " .. what, pcall(string.find, s, p, init))
                    note("match " .. what, pcall(string.match, s, p, init))
                    note("gmatch " .. what, pcall(function()
                        local all = {}
                        for a, b in string.gmatch(s, p, init) do
                            all[#all + 1] = tostring(a) .. "/" .. tostring(b)
                        end
                        return table.concat(all, " ")
                    end))
                end
                note("plain " .. what, pcall(string.find, s, p, 1, true))
                for r, repl in ipairs(by) do
                    note("gsub " .. what .. "," .. r, pcall(string.gsub, s, p, repl))
                    note("gsub once " .. what .. "," .. r, pcall(string.gsub, s, p, repl, 1))
                end
            end
        end
        return table.concat(out, "\n")
    "##;

    #[test]
    fn the_string_library_does_under_the_guard_what_it_does_without() {
        let engine = Engine::start(Config::default()).unwrap();
        let (lua, guard) = open(&LIMITS).unwrap();
        guard.begin(Phase::Running);
        let tools = Tools {
            handle: engine.handle(),
            guard: Arc::clone(&guard),
            counters: Counters::default(),
            timers: Timers::default(),
            lines: Lines::default(),
        };
        let given = functions::table(&lua, &tools).unwrap();
        // Every pattern goes through ours.
        let costly = lua.create_function(|_, _: mlua::MultiValue| Ok(true));
        given.set("costly", costly.unwrap()).unwrap();
        furnish(&lua, &guard, given).unwrap();
        let ours: String = lua.load(SCRIPT).eval().unwrap();
        let theirs: String = Lua::new().load(SCRIPT).eval().unwrap();
        assert!(theirs.lines().count() > 5000);
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
    }
}
