//! The matcher as the prelude calls it.

use mlua::{IntoLuaMulti, LuaString, MultiValue, Table, Value};

use super::functions::Tools;
use super::pattern::{Capture, Found, Matcher, Trouble, is_costly, is_plain};

/// Puts the functions into the table: `costly(text, pattern)`; `is_plain(pattern)`;
/// `locate(text, other, begin)`, which gives where the other text stands; `search(text, pattern,
/// begin)` and `match_at(text, pattern, begin)`, which give true, where the match begins and ends,
/// and its captures; true alone if there is none; or false and what is wrong.
pub(super) fn add(lua: &mlua::Lua, tools: &Tools, table: &Table) -> mlua::Result<()> {
    let costly = |_: &mlua::Lua, (text, pattern): (LuaString, LuaString)| {
        Ok(is_costly(&text.as_bytes(), &pattern.as_bytes()))
    };
    table.set("costly", lua.create_function(costly)?)?;
    let plain = |_: &mlua::Lua, pattern: LuaString| Ok(is_plain(&pattern.as_bytes()));
    table.set("is_plain", lua.create_function(plain)?)?;
    // Lua's own way compares the whole other text at each place.
    let locate = |lua: &mlua::Lua, (text, other, begin): (LuaString, LuaString, usize)| {
        let (text, other) = (text.as_bytes(), other.as_bytes());
        let begin = begin.saturating_sub(1).min(text.len());
        match memchr::memmem::find(&text[begin..], &other) {
            Some(at) => (begin + at + 1, begin + at + other.len()).into_lua_multi(lua),
            None => Value::Nil.into_lua_multi(lua),
        }
    };
    table.set("locate", lua.create_function(locate)?)?;
    for (name, is_search) in [("search", true), ("match_at", false)] {
        let tools = tools.clone();
        let find = move |lua: &mlua::Lua, (text, pattern, begin): (LuaString, LuaString, usize)| {
            let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
            let begin = begin.saturating_sub(1);
            let mut matcher = Matcher::new(&text, &pattern, &tools.guard);
            let found = match is_search {
                true => matcher.search(begin),
                false => matcher.match_at(begin, 0),
            };
            match found {
                Ok(found) => results(lua, &text, found),
                Err(Trouble::Stopped(stop)) => Err(mlua::Error::runtime(stop)),
                Err(Trouble::Malformed(problem)) => {
                    let problem = Value::String(lua.create_string(problem)?);
                    Ok([Value::Boolean(false), problem].into_iter().collect())
                }
            }
        };
        table.set(name, lua.create_function(find)?)?;
    }
    Ok(())
}

fn results(lua: &mlua::Lua, text: &[u8], found: Option<Found>) -> mlua::Result<MultiValue> {
    let mut results = vec![Value::Boolean(true)];
    if let Some(Found {
        begin,
        end,
        captures,
    }) = found
    {
        let place = |at: usize| Value::Integer(at as i64);
        results.extend([place(begin + 1), place(end)]);
        for capture in captures {
            results.push(match capture {
                Capture::Text(begin, end) => Value::String(lua.create_string(&text[begin..end])?),
                Capture::Place(at) | Capture::Open(at) => place(at + 1),
            });
        }
    }
    Ok(results.into_iter().collect())
}
