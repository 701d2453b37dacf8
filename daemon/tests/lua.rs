//! Event routes in Lua: what a script can do, and what happens to one that does it wrong.
#![cfg(feature = "lua")]

mod support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Daemon, Home, eventually, next, receiver};

/// Events of the tests, beside those of the catalogue.
const EVENTS: &str = "events.declare = [\"E_IN\", \"E_OUT\", \"E_NEXT\"]\n";
/// Hands every parameter on.
const ECHO: &str = "event_route[\"E_IN\"] = function(ev)
    local list = {}
    for name, value in ev:params() do list[#list + 1] = { name, value } end
    raise_event(\"E_OUT\", list)
end\n";

fn configuration(more: &str) -> String {
    format!("{EVENTS}{more}\n[routes]\nscript = \"routes.lua\"\n")
}

/// A daemon that runs this script.
fn serve_with(script: &str, more: &str) -> Daemon {
    let home = Home::new();
    fs::write(home.path("routes.lua"), script).unwrap();
    home.serve(&(configuration("") + more))
}

fn serve(script: &str) -> Daemon {
    serve_with(script, "")
}

/// Where the daemon takes events in.
fn ingest(daemon: &Daemon) -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket
        .connect(daemon.dir.run().join("events.sock"))
        .unwrap();
    socket
}

fn payload(event: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "method": event, "params": params}).to_string()
}

/// Raises an event as a proxy does.
fn raise(daemon: &Daemon, event: &str, params: &Value) {
    ingest(daemon)
        .send(payload(event, params).as_bytes())
        .unwrap();
}

/// A receiver of what the script raises.
fn listener(daemon: &Daemon) -> UdpSocket {
    let (socket, name) = receiver();
    daemon.dir.succeed(&["subscribe", "E_OUT", &name]);
    socket
}

/// The parameters of the next event.
#[track_caller]
fn params(socket: &UdpSocket) -> Value {
    let event: Value = serde_json::from_str(&next(socket)).unwrap();
    assert_eq!(event["method"], "E_OUT");
    event["params"].clone()
}

fn stat(daemon: &Daemon, name: &str) -> u64 {
    let all = daemon.dir.succeed(&["stats", name, "--json"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    all[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {all}"))
}

/// What became of the events of a route.
fn subscription(daemon: &Daemon, event: &str) -> Value {
    let list = daemon
        .dir
        .succeed(&["subscribers", event, "--verbose", "--json"]);
    serde_json::from_str(&list).unwrap()
}

#[test]
fn a_route_reads_parameters_by_name_and_by_index() {
    let daemon = serve(
        r#"event_route["E_IN"] = function(ev)
            local absent = ev:param("none") == nil and ev:param(0) == nil and ev:param(99) == nil
            raise_event("E_OUT", {
                { "event", ev.name }, { "named", ev:param("ip") }, { "first", ev:param(1) },
                { "second", ev:param(2) }, { "float", ev:param(2.0) }, { "count", #ev },
                { "absent", absent }, { "type", math.type(ev:param("port") or 0.5) },
                { "json", ev.json },
            })
        end"#,
    );
    let socket = listener(&daemon);
    let given = r#"{"ip":"192.168.2.11","port":5060,"up":true,"load":0.5,"none":null}"#;
    let given = format!(r#"{{"jsonrpc":"2.0","method":"E_IN","params":{given}}}"#);
    ingest(&daemon).send(given.as_bytes()).unwrap();
    assert_eq!(
        params(&socket),
        json!({
            "event": "E_IN", "named": "192.168.2.11", "first": "192.168.2.11", "second": 5060,
            "float": 5060, "count": 5, "absent": true, "type": "integer",
            "json": given,
        })
    );
    raise(&daemon, "E_IN", &json!(["a", "b"]));
    let positional = params(&socket);
    assert_eq!(
        (&positional["first"], &positional["second"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(positional["type"], "float");
    assert_eq!(positional["named"], Value::Null, "what is not there");
}

#[test]
fn a_route_walks_the_parameters_in_order() {
    let daemon = serve(ECHO);
    let socket = listener(&daemon);
    let ingest = ingest(&daemon);
    // Order, repeated names, every kind of value.
    let text =
        r#"{"z":1,"a":"b","z":-2,"t":true,"f":0.25,"big":9007199254740993,"u":"\u00e9\"\\"}"#;
    let event = |name: &str| format!(r#"{{"jsonrpc":"2.0","method":"{name}","params":{text}}}"#);
    ingest.send(event("E_IN").as_bytes()).unwrap();
    let expected = event("E_OUT").replace("\\u00e9", "é");
    assert_eq!(next(&socket), expected);
}

#[test]
fn a_script_raises_in_each_form_and_is_told_what_is_wrong() {
    let daemon = serve(
        r#"local function try(...)
            local ok, problem = pcall(raise_event, ...)
            return ok and "taken" or problem
        end
        event_route["E_IN"] = function()
            raise_event("E_OUT")
            raise_event("E_OUT", {})
            raise_event("E_OUT", { b = 1, a = "x", c = null })
            raise_event("E_OUT", { "x", 2, false, null, 1.5 })
            raise_event("E_OUT", { { "z", 1 }, { "a", 2 } })
            raise_event("E_OUT", { bytes = "a\xffb" })
            raise_event("E_OUT", {
                try(), try("no name"), try("E_OUT", 5), try("E_OUT", { f = print }),
                try("E_OUT", { 1, nil, 3 }), try("E_OUT", { 1, a = 2 }), try("E_OUT", { {} }),
                try("E_OUT", { [1.5] = 2 }), try("E_OUT", { { "a", 1 }, 2 }),
            })
        end"#,
    );
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    let bare = r#"{"jsonrpc":"2.0","method":"E_OUT"}"#;
    assert_eq!([next(&socket), next(&socket)], [bare, bare]);
    assert!(next(&socket).ends_with(r#""params":{"a":"x","b":1,"c":null}}"#));
    assert!(next(&socket).ends_with(r#""params":["x",2,false,null,1.5]}"#));
    assert!(next(&socket).ends_with(r#""params":{"z":1,"a":2}}"#));
    assert_eq!(params(&socket), json!({"bytes": "a\u{fffd}b"}));
    let problems = params(&socket);
    let problems: Vec<_> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    for (problem, said) in problems.iter().zip([
        "raise_event: the event is nil, not a string",
        "raise_event: an event name has ' ' at byte 2",
        "raise_event: the parameters are a integer, not a table",
        "raise_event: parameter f is a function, which no event can carry",
        "raise_event: parameter 2 is nil; write null to send one",
        "raise_event: some parameters have names and some have none",
        "raise_event: parameter 1 is a table; write {name, value}",
        "raise_event: the name of a parameter is a number",
        "raise_event: some parameters have names and some have none",
    ]) {
        assert!(problem.contains(said), "{problem:?} is not {said:?}");
    }
}

#[test]
fn a_script_subscribes_and_is_told_why_not() {
    let (socket, name) = receiver();
    let script = r#"
        local function try(...)
            local ok, good, problem = pcall(subscribe_event, ...)
            if not ok then return good end
            return good and "taken" or problem
        end
        function startup_route()
            assert(subscribe_event("E_NEXT", "SOCKET", 600))
            assert(subscribe_event("E_FRESH", "SOCKET"))
            -- A name that only a name server can tell; nobody else has to wait for that.
            subscribe_event("E_NEXT", "udp:no-such-host.invalid:9")
        end
        event_route["E_IN"] = function(ev)
            raise_event("E_NEXT", { n = ev:param("n") })
            raise_event("E_FRESH", {
                try("E_NEXT", "udp:8.8.8.8:9"), try("E_NEXT", "zzz:1"),
                try("E_NEXT", "udp:127.0.0.1:9", -1),
                try("E_NEXT", "udp:127.0.0.1:9", "x"), try("no name", "udp:127.0.0.1:9"),
                try("E_NEXT", "route:E_NONE"), try("E_NEXT", "route:E_IN", 0), try("E_NEXT"),
            })
        end"#;
    let daemon = serve(&script.replace("SOCKET", &name));
    raise(&daemon, "E_IN", &json!({"n": 7}));
    assert_eq!(next(&socket), payload("E_NEXT", &json!({"n": 7})));
    let answers: Value = serde_json::from_str(&next(&socket)).unwrap();
    assert_eq!(
        answers["method"], "E_FRESH",
        "the names in a script are known"
    );
    let answers: Vec<_> = answers["params"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    for (answer, said) in answers.iter().zip([
        "not in an allowed network",
        "unknown transport \"zzz\"",
        "subscribe_event: expire is -1, not a number of seconds",
        "subscribe_event: expire is a string, not whole seconds",
        "subscribe_event: an event name has ' ' at byte 2",
        "no handler is called \"E_NONE\"",
        "taken",
        "subscribe_event: the socket is nil, not a string",
    ]) {
        assert!(answer.contains(said), "{answer:?} is not {said:?}");
    }
    let listed = daemon.dir.succeed(&["subscribers", "--json"]);
    assert!(listed.contains(&name), "{listed}");
    assert!(
        listed.contains("route:E_IN"),
        "its own routes are listed: {listed}"
    );
}

#[test]
fn routes_share_their_variables_and_serve_other_events() {
    let daemon = serve(
        r#"local count = 0
        event_route["E_IN"] = function(ev)
            count = count + 1
            raise_event("E_OUT", { { "by", ev.name }, { "count", count } })
        end
        event_route["E_NEXT"] = function() count = count + 100 end"#,
    );
    let socket = listener(&daemon);
    daemon
        .dir
        .succeed(&["subscribe", "E_PIKE_BLOCKED", "route:E_IN"]);
    raise(&daemon, "E_IN", &json!({}));
    assert_eq!(params(&socket), json!({"by": "E_IN", "count": 1}));
    raise(&daemon, "E_NEXT", &json!({}));
    eventually("the second route", || stat(&daemon, "script:runs") == 2);
    raise(&daemon, "E_PIKE_BLOCKED", &json!({}));
    assert_eq!(
        params(&socket),
        json!({"by": "E_PIKE_BLOCKED", "count": 102})
    );
}

#[test]
fn the_startup_route_runs_first_and_timers_run_again_and_again() {
    let daemon = serve(
        r#"local state = "unset"
        local ticks = 0
        function startup_route() state = "ready" end
        timer_route(0.01, function()
            ticks = ticks + 1
            if ticks % 3 == 2 then error("this error is part of the test") end
            raise_event("E_OUT", { { "tick", ticks }, { "state", state } })
        end)
        timer_route(3600, function() raise_event("E_OUT", { "too early" }) end)
        event_route["E_IN"] = function() raise_event("E_OUT", { { "state", state } }) end"#,
    );
    let socket = listener(&daemon);
    let mut last = 0;
    for _ in 0..10 {
        let tick = params(&socket);
        assert_eq!(tick["state"], "ready");
        let number = tick["tick"].as_u64().unwrap();
        assert!(number > last && number % 3 != 2, "{tick}");
        last = number;
    }
    raise(&daemon, "E_IN", &json!({}));
    eventually("the event between the ticks", || {
        params(&socket) == json!({"state": "ready"})
    });
    assert_eq!(stat(&daemon, "script:startup_runs"), 1);
    assert!(stat(&daemon, "script:timer_runs") >= 10);
    assert!(stat(&daemon, "script:errors") >= 3);
}

#[test]
fn a_script_that_errs_costs_its_event_only() {
    let daemon = serve(
        r#"event_route["E_IN"] = function(ev)
            local n = ev:param("n")
            if n % 4 == 1 then error("number " .. n) end
            if n % 4 == 2 then error({ code = n }) end
            if n % 4 == 3 then local x = nil; x.field = 1 end
            raise_event("E_OUT", { { "n", n } })
        end"#,
    );
    let socket = listener(&daemon);
    for n in 0..40 {
        raise(&daemon, "E_IN", &json!({"n": n}));
    }
    for n in (0..40).step_by(4) {
        assert_eq!(params(&socket), json!({"n": n}));
    }
    eventually("all have run", || stat(&daemon, "script:runs") == 40);
    assert_eq!(stat(&daemon, "script:errors"), 30);
    let counts = subscription(&daemon, "E_IN").to_string();
    assert!(counts.contains(r#""rejected":30"#), "{counts}");
    assert!(
        counts.contains("routes.lua:"),
        "with its last error: {counts}"
    );
    let errors = daemon.errors();
    assert!(errors.contains(r#"event_route["E_IN"]: "#), "{errors}");
    assert!(errors.contains("routes.lua:3: number 1"), "{errors}");
    // Not a line for each of them.
    eventually("errors are held back", || {
        raise(&daemon, "E_IN", &json!({"n": 1}));
        daemon.errors().contains(" more like it)")
    });
}

/// Each runs for ever, unless it is stopped.
const RUNAWAYS: [&str; 28] = [
    "table.insert(setmetatable({}, {__len = function() return 1 << 62 end}), 1, 0)",
    "table.remove(setmetatable({}, {__len = function() return 1 << 62 end}), 1)",
    "table.sort(setmetatable({}, {__len = function() return (1 << 31) - 2 end}), math.type)",
    "local t = {}; for i = 1, 100000 do t[i] = '' end; while true do table.concat(t) end",
    "local t = {}; for i = 1, 100000 do t[i] = i end; while true do table.remove(t, 1) end",
    "local s = ('a'):rep(1000000); while true do s:upper(); utf8.len(s); tonumber(s, 36) end",
    "while true do table.unpack({}, 1, 100000) end",
    "local function f(d) for i = 1, d * 5 do coroutine.wrap(f)(d - 1) end end; f(14)",
    "while true do ('a'):rep(4000000):find(('a'):rep(2000000) .. 'b', 1, true) end",
    "while true do ('a'):rep(4000000):find(('a'):rep(2000000) .. 'b') end",
    "('a'):rep(400000):match(('a'):rep(200000) .. 'b')",
    "local s = ('a'):rep(400000); s:gsub(s .. 'b', '')",
    "local s = ('a'):rep(20000); s:find('(.*)(.*)(.*)(.*)b')",
    "local s = (' '):rep(100000); s:match('^(.-)%s*(.-)%s*;')",
    "for w in ('a'):rep(20000):gmatch('a*a*a*a*b') do end",
    "('a'):rep(20000):gsub('.-.-.-.-b', '')",
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "pcall(pcall, pcall, function() while true do end end); while true do end",
    "xpcall(function() while true do end end, function() while true do end end)",
    "coroutine.wrap(function() while true do end end)()",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "while true do coroutine.wrap(function() coroutine.yield() end)() end",
    "while true do string.rep('x', 100) end",
    "local s = string.rep('', 1 << 60); while true do s = s .. '' end",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "string.gsub('abc', '.', function() while true do end end)",
];

#[test]
fn a_script_that_runs_away_is_stopped_wherever_it_is() {
    let cases: String = (1..)
        .zip(RUNAWAYS)
        .map(|(n, code)| format!("[{n}] = function() {code} end,\n"))
        .collect();
    let script = format!(
        "local cases = {{\n{cases}}}
        event_route[\"E_IN\"] = function(ev)
            local case = cases[ev:param('n')]
            if case then case() end
            raise_event('E_OUT', {{ {{ 'n', ev:param('n') }} }})
        end"
    );
    // By the number of instructions, and by the clock.
    for limit in [
        "run_instructions = 1000000\nrun_seconds = 60",
        "run_instructions = 1000000000000\nrun_seconds = 0.05",
    ] {
        let daemon = serve_with(&script, limit);
        let socket = listener(&daemon);
        for (n, code) in (1..).zip(RUNAWAYS) {
            println!("{code}");
            raise(&daemon, "E_IN", &json!({"n": n}));
            raise(&daemon, "E_IN", &json!({"n": 100 + n}));
            assert_eq!(params(&socket), json!({"n": 100 + n}), "{code}");
            assert_eq!(stat(&daemon, "script:runaways"), n, "{code}");
        }
        assert_eq!(stat(&daemon, "script:errors"), 0);
        let counts = subscription(&daemon, "E_IN").to_string();
        let unanswered = format!(r#""unanswered":{}"#, RUNAWAYS.len());
        assert!(counts.contains(&unanswered), "{counts}");
        assert!(
            daemon.errors().contains("stopped after"),
            "{}",
            daemon.errors()
        );
    }
}

#[test]
fn a_script_that_eats_memory_is_stopped_and_the_next_event_runs() {
    let daemon = serve_with(
        r#"kept = {}
        function startup_route() kept = { "fresh" } end
        event_route["E_IN"] = function(ev)
            local what = ev:param("what")
            if what == "once" then
                local list = {}
                while true do list[#list + 1] = ("x"):rep(1000) .. #list end
            elseif what == "string" then
                local s = ("x"):rep(1 << 40)
            elseif what == "keep" then
                while true do kept[#kept + 1] = ("x"):rep(1000) .. #kept end
            elseif what == "raise" then
                local s, list = ("x"):rep(1000000), {}
                for i = 1, 100000 do list[i] = s end
                local ok, why = raise_event("E_OUT", list)
                assert(not ok and why == "too_big")
            elseif what == "catch" then
                pcall(function() local s = ("x"):rep(1 << 40) end)
            end
            raise_event("E_OUT", { { "what", what }, { "kept", #kept } })
        end"#,
        "memory_bytes = 8000000\nrun_seconds = 30\n",
    );
    let socket = listener(&daemon);
    let mut stopped = 0;
    for round in 0..3 {
        for what in ["once", "string", "keep"] {
            raise(&daemon, "E_IN", &json!({"what": what}));
            raise(&daemon, "E_IN", &json!({"what": "nothing"}));
            stopped += 1;
            assert_eq!(
                params(&socket),
                json!({"what": "nothing", "kept": 1}),
                "{what} {round}"
            );
            assert_eq!(stat(&daemon, "script:out_of_memory"), stopped, "{what}");
        }
        for what in ["catch", "raise"] {
            raise(&daemon, "E_IN", &json!({"what": what}));
            assert_eq!(params(&socket)["what"], what);
        }
        assert_eq!(
            stat(&daemon, "script:restarts"),
            round + 1,
            "only when it keeps it"
        );
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak < 200_000, "{peak} kB");
}

#[test]
fn a_timer_that_fills_the_memory_takes_no_other_timer_with_it() {
    let daemon = serve_with(
        r#"kept = {}
        local function fill()
            while true do kept[#kept + 1] = ("x"):rep(10000) .. #kept end
        end
        timer_route(0.01, fill)
        timer_route(0.005, function() raise_event("E_OUT", { "tick" }) end)
        event_route["E_IN"] = function(ev) raise_event("E_NEXT", { ev:param(1) }) end"#,
        "memory_bytes = 8000000\nrun_seconds = 30\n",
    );
    let socket = listener(&daemon);
    for n in 0..100 {
        raise(&daemon, "E_IN", &json!([n]));
    }
    eventually("the events have run", || {
        stat(&daemon, "script:runs") == 100 && stat(&daemon, "script:restarts") > 5
    });
    params(&socket);
    assert_eq!(stat(&daemon, "evi:dropped_other"), 0);
    assert!(!daemon.errors().contains("panicked"), "{}", daemon.errors());
}

#[test]
fn what_takes_a_script_many_steps_gives_what_lua_gives() {
    let daemon = serve(
        r#"event_route["E_IN"] = function()
            local words = { "c", "a", "b" }
            table.sort(words)
            local falling = { 1, 3, 2 }
            table.sort(falling, function(a, b) return a > b end)
            local list = { "x" }
            table.insert(list, "z"); table.insert(list, 2, "y"); table.insert(list, 1, "w")
            local gone = { table.remove(list, 1), table.remove(list), #list }
            local bad = { pcall(table.insert, list, 9, 1), pcall(table.remove, list, -1),
                pcall(table.sort, { 1, 2 }, 5), pcall(table.insert, list),
                (pcall(table.concat, setmetatable({}, {}))) }
            for i = 1, #bad do bad[i] = tostring(bad[i]) end
            local long = ("a"):rep(3000) .. "b" .. ("a"):rep(3000)
            local at, to = long:find(("a"):rep(1000) .. "b", 1, true)
            local co = coroutine.wrap(function(a)
                local b = coroutine.yield(a + 1)
                error("e" .. b)
            end)
            local first = co(1)
            local ok, problem = pcall(co, 5)
            raise_event("E_OUT", {
                table.concat(words), table.concat(falling), table.concat(list), table.concat(gone),
                at, to, tostring(long:find(("c"):rep(1000))), first, problem:match("e5$"),
                (select(3, table.unpack({ 1, 2, 3 }))), ("%5.1f|%s"):format(2.25, "x"),
                tonumber("ff", 16), ("aB"):upper() .. ("aB"):lower() .. ("ab"):reverse(),
                os.date("!%Y", 0), (pcall(os.date, ("%c"):rep(100))), table.concat(bad, "|"),
            })
        end"#,
    );
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    let said = params(&socket);
    let said = said.as_array().unwrap();
    let bad = said.last().unwrap().as_str().unwrap();
    assert_eq!(
        said[..said.len() - 1],
        [
            json!("abc"),
            json!("321"),
            json!("xy"),
            json!("wz2"),
            json!(2001),
            json!(3001),
            json!("nil"),
            json!(2),
            json!("e5"),
            json!(3),
            json!("  2.2|x"),
            json!(255),
            json!("ABabba"),
            json!("1970"),
            json!(false),
        ]
    );
    assert_eq!(bad.matches("false").count(), 5, "{bad}");
}

/// A script whose event is subscribed by the file, too.
const TWICE: &str = "[[subscribe]]\nevent = \"E_IN\"\nsocket = \"route:E_IN\"\n";

#[test]
fn a_route_that_the_file_subscribes_too_stays_when_the_file_does_not_any_more() {
    let daemon = serve_with(ECHO, TWICE);
    let socket = listener(&daemon);
    let works = |n: u64| {
        raise(&daemon, "E_IN", &json!({"n": n}));
        assert_eq!(params(&socket), json!({"n": n}));
    };
    works(1);
    // The file has it no more.
    daemon.dir.configure(&configuration(""));
    reloaded(&daemon, "reloaded: ");
    works(2);
    // The file would have it, but cannot be read to its end.
    let bad = "[[subscribe]]\nevent = \"E_IN\"\nsocket = \"zzz:1\"\n";
    daemon.dir.configure(&(configuration("") + TWICE + bad));
    reloaded(&daemon, "nothing reloaded: ");
    works(3);
    // It may last for a while only, or somebody has ended it.
    daemon
        .dir
        .configure(&(configuration("") + TWICE + "expire = 1000\n"));
    reloaded(&daemon, "reloaded: ");
    let listed = subscription(&daemon, "E_IN").to_string();
    assert!(!listed.contains("1000"), "{listed}");
    daemon.dir.succeed(&["unsubscribe", "E_IN", "route:E_IN"]);
    reloaded(&daemon, "reloaded: ");
    works(4);
}

#[test]
fn a_start_that_fails_runs_nothing_of_the_script() {
    let home = Home::new();
    fs::write(
        home.path("routes.lua"),
        "function startup_route() log('begun') end",
    )
    .unwrap();
    // What cannot be opened is found last.
    let taken = "[mi.fifo]\npath = \"taken\"\n";
    fs::create_dir_all(home.run().join("taken")).unwrap();
    let file = home.configure(&(configuration("") + taken));
    for _ in 0..5 {
        let file = file.to_str().unwrap();
        let said = home.fail(1, &["serve", "--http", "off", "--config", file]);
        assert!(said.contains("taken") && !said.contains("begun"), "{said}");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_script_that_waits_for_its_turn() {
    let busy = "event_route.E_IN = function()
        raise_event('E_OUT')
        while true do end
    end\n";
    let daemon = serve_with(busy, "run_seconds = 60\nrun_instructions = 1000000000000\n");
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    next(&socket);
    fs::write(daemon.dir.path("routes.lua"), ECHO).unwrap();
    daemon.signal(Signal::HUP);
    daemon.signal(Signal::TERM);
    daemon.await_error("nothing reloaded: routes.script: the daemon is told to stop");
}

#[test]
fn a_script_is_changed_between_two_events_of_those_that_wait() {
    let slow = "event_route.E_IN = function()
        local begun = os.clock()
        while os.clock() < begun + 0.05 do end
    end\n";
    let daemon = serve_with(slow, "run_instructions = 1000000000000\n");
    let socket = listener(&daemon);
    for n in 0..400 {
        raise(&daemon, "E_IN", &json!({"n": n}));
    }
    eventually("it is at work", || stat(&daemon, "script:runs") > 0);
    reload(&daemon, ECHO, "; script loaded, event routes: 1");
    let first = params(&socket)["n"].as_u64().unwrap();
    // In one piece, the old one would have run most of them.
    assert!(first < 200, "{first}");
}

#[test]
fn what_has_waited_too_long_is_not_run() {
    let busy = "local first = true
        event_route.E_IN = function(ev)
            raise_event('E_OUT', { { 'n', ev:param('n') } })
            if first then
                first = false
                local begun = os.time()
                while os.time() < begun + 3 do end
            end
        end\n";
    let limits = "run_seconds = 60\nrun_instructions = 1000000000000\n[queue]\nseconds = 1\n";
    let daemon = serve_with(busy, limits);
    let socket = listener(&daemon);
    for n in 0..10 {
        raise(&daemon, "E_IN", &json!({"n": n}));
    }
    assert_eq!(params(&socket), json!({"n": 0}));
    eventually("the others are too old", || {
        subscription(&daemon, "E_IN")
            .to_string()
            .contains(r#""expired":9"#)
    });
    raise(&daemon, "E_IN", &json!({"n": 10}));
    assert_eq!(params(&socket), json!({"n": 10}));
}

#[test]
fn a_script_that_says_and_declares_without_end_is_held_back() {
    let daemon = serve(
        r#"event_route["E_IN"] = function()
            for i = 1, 10000 do log("line " .. i) end
            assert(not subscribe_event("E_OTHER", "zzz:1"))
            local taken, why = 0
            for i = 1, 2000 do
                local ok, problem = pcall(raise_event, "E_NAME_" .. i)
                if ok then taken = taken + 1 else why = problem end
            end
            raise_event("E_OUT", { { "taken", taken }, { "why", why } })
        end"#,
    );
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    let said = params(&socket);
    assert_eq!(said["taken"], 1024);
    let why = said["why"].as_str().unwrap();
    assert!(
        why.contains("the script has declared 1024 events already"),
        "{why}"
    );
    daemon
        .dir
        .fail(1, &["subscribe", "E_OTHER", "udp:127.0.0.1:9"]);
    assert!(stat(&daemon, "script:unlogged") > 1000);
    assert!(daemon.errors().matches("script: line ").count() < 9000);
}

#[test]
fn a_route_that_raises_its_own_event_ends_after_a_hundred() {
    let daemon = serve(
        r#"event_route["E_IN"] = function(ev)
            local n = ev:param("n")
            raise_event("E_OUT", { { "n", n } })
            local ok, why = raise_event("E_IN", { { "n", n + 1 } })
            if not ok then log("warn", "it ends with " .. n .. ": " .. why) end
        end"#,
    );
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({"n": 0}));
    // That of the last is one too deep already.
    for n in 0..100 {
        assert_eq!(params(&socket), json!({"n": n}));
    }
    daemon.await_error("it ends with 100: nested");
    assert_eq!(stat(&daemon, "script:runs"), 101);
    assert_eq!(stat(&daemon, "script:nested"), 2);
    assert_eq!(stat(&daemon, "evi:dropped_before_nested"), 2);
}

/// Raises numbered events until it is told to stop, so many more than were seen.
fn load(daemon: &Daemon, stop: &AtomicBool, raised: &AtomicU64, seen: &AtomicU64) {
    let ingest = ingest(daemon);
    while !stop.load(Ordering::Relaxed) {
        let n = raised.load(Ordering::Relaxed);
        if n > seen.load(Ordering::Relaxed) + 1000 {
            thread::yield_now();
            continue;
        }
        ingest
            .send(payload("E_IN", &json!({"n": n})).as_bytes())
            .unwrap();
        raised.store(n + 1, Ordering::Relaxed);
    }
}

#[test]
fn a_reload_under_load_loses_no_event() {
    let script = |generation: u64| {
        format!(
            "event_route[\"E_IN\"] = function(ev)
                for i = 1, 2000 do end
                raise_event(\"E_OUT\", {{ {{ 'n', ev:param('n') }}, {{ 'by', {generation} }} }})
            end"
        )
    };
    let home = Home::new();
    fs::write(home.path("routes.lua"), script(0)).unwrap();
    // Nothing is dropped for its number or age: what is lost is lost by the reload.
    let limits = "[queue]\nevents = 1000000\nbytes = 100000000\n";
    let daemon = home.serve(&(configuration("") + limits));
    // One that is waited for when its queue is full.
    let path = daemon.dir.path("receiver.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let name = format!("unix:{}", path.display());
    daemon.dir.succeed(&["subscribe", "E_OUT", &name]);
    let params = || {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap();
        let event: Value = serde_json::from_slice(&buffer[..length]).unwrap();
        event["params"].clone()
    };
    let (stop, raised) = (AtomicBool::new(false), AtomicU64::new(0));
    let counted = AtomicU64::new(0);
    const RELOADS: u64 = 20;
    thread::scope(|scope| {
        let raiser = scope.spawn(|| load(&daemon, &stop, &raised, &counted));
        let mut expected = 0;
        let mut generation = 0;
        let mut seen = |wanted: u64, all: Option<u64>| {
            while generation < wanted || all.is_some_and(|all| expected < all) {
                let event = params();
                assert_eq!(event["n"], expected, "each event once, in order");
                let by = event["by"].as_u64().unwrap();
                assert!(by >= generation, "never by a script that was replaced");
                (expected, generation) = (expected + 1, by);
                counted.store(expected, Ordering::Relaxed);
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for generation in 1..=RELOADS {
                fs::write(daemon.dir.path("new.lua"), script(generation)).unwrap();
                fs::rename(daemon.dir.path("new.lua"), daemon.dir.path("routes.lua")).unwrap();
                daemon.signal(Signal::HUP);
                seen(generation, None);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        raiser.join().unwrap();
        result.unwrap();
        seen(RELOADS, Some(raised.load(Ordering::Relaxed)));
    });
    let raised = raised.into_inner();
    assert_eq!(stat(&daemon, "script:runs"), raised);
    assert_eq!(stat(&daemon, "script:reloads"), RELOADS);
    assert_eq!(stat(&daemon, "evi:dropped"), 0);
    assert_eq!(stat(&daemon, "evi:delivered"), 2 * raised);
}

#[test]
fn a_route_that_a_reload_adds_misses_none_of_its_events() {
    let one = format!("{ECHO} -- one");
    let two = format!("{ECHO}event_route.E_NEXT = function() end");
    let file = configuration("") + "[queue]\nevents = 1000000\nbytes = 100000000\n";
    let more = file.clone() + "[[subscribe]]\nevent = \"E_IN\"\nsocket = \"route:E_NEXT\"\n";
    let home = Home::new();
    fs::write(home.path("routes.lua"), &one).unwrap();
    let daemon = home.serve(&file);
    let (stop, raised) = (AtomicBool::new(false), AtomicU64::new(0));
    let endless = AtomicU64::new(u64::MAX / 2);
    thread::scope(|scope| {
        let raiser = scope.spawn(|| load(&daemon, &stop, &raised, &endless));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..10 {
                daemon.dir.configure(&more);
                reload(&daemon, &two, "; script loaded, event routes: 2");
                daemon.dir.configure(&file);
                reload(&daemon, &one, "; script loaded, event routes: 1");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        raiser.join().unwrap();
        result.unwrap();
    });
    assert_eq!(stat(&daemon, "evi:dropped_unreachable"), 0);
}

#[test]
fn a_script_that_no_restart_helps_is_not_restarted_at_each_event() {
    let daemon = serve_with(
        r#"kept = {}
        function startup_route()
            while true do kept[#kept + 1] = ("x"):rep(10000) .. #kept end
        end
        event_route["E_IN"] = startup_route"#,
        "memory_bytes = 8000000\nrun_seconds = 30\n",
    );
    for n in 0..50 {
        raise(&daemon, "E_IN", &json!([n]));
    }
    eventually("all have run", || stat(&daemon, "script:runs") == 50);
    let restarts = stat(&daemon, "script:restarts");
    assert!((1..25).contains(&restarts), "{restarts}");
}

/// Has the files read again, and waits until the daemon has said these words once more.
#[track_caller]
fn reloaded(daemon: &Daemon, said: &str) {
    let count = || daemon.errors().matches(said).count();
    let before = count();
    daemon.signal(Signal::HUP);
    eventually(said, || count() == before + 1);
}

/// Writes the script and has it read.
#[track_caller]
fn reload(daemon: &Daemon, script: &str, said: &str) {
    fs::write(daemon.dir.path("routes.lua"), script).unwrap();
    reloaded(daemon, said);
}

#[test]
fn a_broken_script_is_refused_and_the_old_one_goes_on() {
    let daemon = serve(&format!("local count = 0\n{ECHO}"));
    let socket = listener(&daemon);
    for (script, said) in [
        (
            "event_route[\"E_IN\"] = = 1",
            "routes.lua:1: unexpected symbol near '='",
        ),
        ("\nerror('not today')", "routes.lua:2: not today"),
        ("while true do end", "routes.lua: stopped after"),
        (
            "event_route = 5",
            "routes.lua: event_route is a integer, not a table",
        ),
        (
            "event_route[5] = print",
            "a route in event_route is named by a integer",
        ),
        (
            "event_route['no name'] = print",
            "event_route[\"no name\"]: an event name has",
        ),
        (
            "event_route['E_X'] = 5",
            "event_route[\"E_X\"] is a integer, not a function",
        ),
        (
            "startup_route = 5",
            "startup_route is a integer, not a function",
        ),
        (
            "timer_route(0, print)",
            "routes.lua:1: timer_route: 0 s is out of range",
        ),
        (
            "timer_route(1, 5)",
            "timer_route: what it runs is a integer, not a function",
        ),
        (
            "raise_event('E_OUT')",
            "raise_event: not while the script is loaded",
        ),
        (
            "subscribe_event('E_OUT', 'udp:127.0.0.1:9')",
            "subscribe_event: not while the script",
        ),
        (
            "local s = ('x'):rep(1 << 40)",
            "routes.lua:1: resulting string too large",
        ),
        (
            "local s = ('x'):rep(1 << 30)",
            "routes.lua:1: not enough memory",
        ),
        (
            "setmetatable({}, { __gc = print })",
            "a script cannot have finalizers",
        ),
        (
            "\nlocal x <close> = setmetatable({}, { __close = print })",
            "routes.lua:2: a script cannot have closers",
        ),
        (
            "setmetatable({}, { ['__clo' .. 'se'] = print })",
            "routes.lua:1: a script cannot have closers",
        ),
    ] {
        reload(&daemon, script, "nothing reloaded: routes.script: ");
        let errors = daemon.errors();
        let last = errors.trim_end().lines().last().unwrap();
        assert!(last.contains(said), "{script}: {last}");
        raise(&daemon, "E_IN", &json!({"still": script}));
        assert_eq!(params(&socket), json!({"still": script}));
    }
    fs::remove_file(daemon.dir.path("routes.lua")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_error("routes.lua: No such file");
    assert_eq!(stat(&daemon, "script:reloads"), 0);
}

#[test]
fn a_script_that_cannot_be_run_refuses_the_rest_of_the_file_and_the_other_way_round() {
    let daemon = serve(ECHO);
    let socket = listener(&daemon);
    // A good script in a bad file.
    fs::write(daemon.dir.path("routes.lua"), "event_route.E_NEXT = print").unwrap();
    daemon.dir.configure(&format!(
        "{}[[subscribe]]\nevent = \"E_IN\"\nsocket = \"zzz:1\"\n",
        configuration("")
    ));
    daemon.signal(Signal::HUP);
    daemon.await_error("unknown transport \"zzz\"");
    raise(&daemon, "E_IN", &json!({"a": 1}));
    assert_eq!(params(&socket), json!({"a": 1}));
    let listed = daemon.dir.succeed(&["subscribers"]);
    assert!(
        listed.contains("route:E_IN") && !listed.contains("route:E_NEXT"),
        "{listed}"
    );
    let refused = daemon.dir.fail(1, &["subscribe", "E_OUT", "route:E_NEXT"]);
    assert!(refused.contains("no handler is called"), "{refused}");
    // The same script in a good one, which subscribes to it, too.
    daemon.dir.configure(&format!(
        "{}[[subscribe]]\nevent = \"E_IN\"\nsocket = \"route:E_NEXT\"\n",
        configuration("")
    ));
    reloaded(&daemon, "; script loaded, event routes: 1");
    let listed = daemon.dir.succeed(&["subscribers"]);
    assert!(
        !listed.contains("route:E_IN") && listed.contains("route:E_NEXT"),
        "{listed}"
    );
    raise(&daemon, "E_IN", &json!({}));
    daemon.await_error("script: E_IN");
    // None at all.
    daemon.dir.configure(EVENTS);
    daemon.signal(Signal::HUP);
    daemon.await_error("; script loaded, event routes: 0");
    let listed = daemon.dir.succeed(&["subscribers"]);
    assert!(!listed.contains("route:"), "{listed}");
    // And one again.
    daemon.dir.configure(&configuration(""));
    reload(&daemon, ECHO, "; script loaded, event routes: 1");
    eventually("the route is there", || {
        daemon.dir.succeed(&["subscribers"]).contains("route:E_IN")
    });
    raise(&daemon, "E_IN", &json!({"b": 2}));
    assert_eq!(params(&socket), json!({"b": 2}));
}

#[test]
fn a_daemon_says_what_it_runs_and_counts_it() {
    let daemon = serve(ECHO);
    let said = &daemon.announced;
    assert!(said.contains("routes.lua (event routes: 1)\n"), "{said}");
    assert!(said.contains(" 1 subscriptions\n"), "{said}");
    let counted = daemon.dir.succeed(&["stats", "script:"]);
    assert!(counted.contains("script:runaways "), "{counted}");
    let without = Daemon::start();
    assert!(!without.announced.contains("event routes"));
    without.dir.fail(1, &["stats", "script:"]);
}

#[test]
fn a_script_that_did_not_change_keeps_its_variables() {
    let script = "local count = 0
        event_route.E_IN = function()
            count = count + 1
            raise_event('E_OUT', { { 'count', count } })
        end\n";
    let daemon = serve(script);
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    assert_eq!(params(&socket)["count"], 1);
    daemon.signal(Signal::HUP);
    daemon.await_error("reloaded: 0 events declared");
    raise(&daemon, "E_IN", &json!({}));
    assert_eq!(params(&socket)["count"], 2);
    reload(
        &daemon,
        &format!("{script}-- changed"),
        "script loaded, event routes: 1",
    );
    raise(&daemon, "E_IN", &json!({}));
    assert_eq!(params(&socket)["count"], 1);
}

#[test]
fn bad_configurations_are_refused_with_their_line() {
    let home = Home::new();
    fs::write(home.path("routes.lua"), ECHO).unwrap();
    fs::write(home.path("broken.lua"), "x = = 1").unwrap();
    fs::write(home.path("binary.lua"), b"\x1bLua\x54").unwrap();
    fs::write(home.path("latin.lua"), b"-- \xe9").unwrap();
    for (text, said) in [
        (
            "[routes]\nscirpt = \"routes.lua\"",
            "toml:2: routes: unknown key `scirpt`; did you mean `script`?",
        ),
        ("[routes]\nscript = 5", "toml:2: routes.script: "),
        (
            "[routes]\n\nmemory_bytes = 5",
            "toml:3: routes.memory_bytes: 5 is out of range",
        ),
        (
            "[routes]\nrun_instructions = -1",
            "toml:2: routes.run_instructions: -1 is out of range",
        ),
        (
            "[routes]\nrun_seconds = 61",
            "toml:2: routes.run_seconds: 61 is out of range",
        ),
        ("[routes]\nscript = \"none.lua\"", "none.lua: No such file"),
        ("[routes]\nscript = \".\"", "Is a directory"),
        (
            "[routes]\nscript = \"broken.lua\"",
            "broken.lua:1: unexpected symbol",
        ),
        (
            "[routes]\nscript = \"binary.lua\"",
            "attempt to load a binary chunk",
        ),
        (
            "[routes]\nscript = \"latin.lua\"",
            "latin.lua: is not UTF-8",
        ),
    ] {
        let file = home.configure(text);
        let file = file.to_str().unwrap();
        for command in ["config", "serve"] {
            let refusal = home.fail(1, &[command, "--config", file]);
            assert!(refusal.contains(said), "{text}: {refusal}");
        }
    }
    let file = home.configure(&configuration(""));
    let printed = home.succeed(&["config", "--config", file.to_str().unwrap()]);
    assert!(printed.contains("script = \"routes.lua\""), "{printed}");
}

#[test]
fn a_script_reaches_nothing_outside() {
    let daemon = serve(
        r#"event_route["E_IN"] = function(ev)
            local open = {}
            for _, name in ipairs { "io", "require", "package", "debug", "dofile", "loadfile",
                                    "load", "collectgarbage", "warn", "ffi" } do
                if _G[name] ~= nil then open[#open + 1] = name end
            end
            for _, name in ipairs { "execute", "exit", "getenv", "remove", "rename", "tmpname",
                                    "setlocale" } do
                if os[name] ~= nil then open[#open + 1] = "os." .. name end
            end
            if string.dump then open[#open + 1] = "string.dump" end
            kept = kept or ev
            local late, problem = pcall(function() return kept.name end)
            local frozen = pcall(function() event_route["E_LATE"] = print end)
            raise_event("E_OUT", {
                { "open", table.concat(open, " ") }, { "clock", os.time() > 0 and os.clock() >= 0 },
                { "date", #os.date("%Y") }, { "late", late }, { "frozen", not frozen },
            })
        end"#,
    );
    let socket = listener(&daemon);
    for late in [true, false] {
        raise(&daemon, "E_IN", &json!({}));
        let expected = json!({"open": "", "clock": true, "date": 4, "late": late, "frozen": true});
        assert_eq!(
            params(&socket),
            expected,
            "an event is gone when its route has run"
        );
    }
}

#[test]
fn a_script_logs_lines_of_its_own_only() {
    let daemon = serve(
        r#"function startup_route()
            log("plain")
            log("warn", "one\ntwo\27[2J")
            log("error", 5)
            print("a", nil, 1.5)
            log("info", ("long "):rep(5000))
            local ok, problem = pcall(log, "loud", "x")
            log(problem)
        end"#,
    );
    daemon.await_error("\"loud\" is no level; there are error, warn, info, debug");
    let errors = daemon.errors();
    for line in [
        " INFO script: plain\n",
        " WARN script: one\\ntwo\\u{1b}[2J\n",
        "ERROR script: 5\n",
        " INFO script: a nil 1.5\n",
    ] {
        assert!(errors.contains(line), "{line:?} in {errors}");
    }
    assert!(errors.lines().all(|line| line.len() < 5000));
}

#[test]
fn a_stop_runs_what_was_raised_or_counts_it() {
    let daemon = serve(ECHO);
    let socket = listener(&daemon);
    let ingest = ingest(&daemon);
    for n in 0..500 {
        ingest
            .send(payload("E_IN", &json!({"n": n})).as_bytes())
            .unwrap();
    }
    assert_eq!(params(&socket), json!({"n": 0}));
    let (status, last) = daemon.terminate();
    assert!(status.success());
    assert!(!last.contains("not accounted for"), "{last}");
}

#[test]
fn the_example_does_what_it_says() {
    let script = include_str!("../../examples/routes.lua");
    let daemon = serve(script);
    daemon.await_error("script: watching for blocked addresses");
    let (socket, name) = receiver();
    // The script declares the event when it first raises it; who comes before that is refused.
    daemon
        .dir
        .fail(1, &["subscribe", "E_REPEAT_OFFENDER", &name]);
    for _ in 0..3 {
        raise(&daemon, "E_PIKE_BLOCKED", &json!({"ip": "192.168.2.11"}));
    }
    eventually("the event is known", || {
        daemon
            .dir
            .output(&["subscribe", "E_REPEAT_OFFENDER", &name])
            .status
            .success()
    });
    for _ in 0..3 {
        raise(&daemon, "E_PIKE_BLOCKED", &json!(["10.0.0.1"]));
    }
    let expected = payload("E_REPEAT_OFFENDER", &json!({"ip": "10.0.0.1", "times": 3}));
    let sent: Value = serde_json::from_str(&next(&socket)).unwrap();
    assert_eq!(sent, serde_json::from_str::<Value>(&expected).unwrap());
    raise(&daemon, "E_PIKE_BLOCKED", &json!({}));
    daemon.await_error("E_PIKE_BLOCKED without an address");
    assert_eq!(stat(&daemon, "script:errors"), 0);
}
