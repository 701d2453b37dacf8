//! What a script can do.

use super::*;

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
fn the_example_does_what_it_says() {
    let script = include_str!("../../../examples/routes.lua");
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
    // Who subscribes between the declaration and the first raise hears of the first address, too.
    let sent = loop {
        let sent: Value = serde_json::from_str(&next(&socket)).unwrap();
        if sent["params"]["ip"] != "192.168.2.11" {
            break sent;
        }
    };
    assert_eq!(sent, serde_json::from_str::<Value>(&expected).unwrap());
    raise(&daemon, "E_PIKE_BLOCKED", &json!({}));
    daemon.await_error("E_PIKE_BLOCKED without an address");
    assert_eq!(stat(&daemon, "script:errors"), 0);
}
