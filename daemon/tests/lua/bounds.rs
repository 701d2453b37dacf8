//! What a script that does it wrong is held to.

use super::*;

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
    // The run is counted first, then its error, then what became of the event.
    eventually("all have run", || {
        stat(&daemon, "script:runs") == 40
            && stat(&daemon, "script:errors") == 30
            && subscription(&daemon, "E_IN")
                .to_string()
                .contains(r#""rejected":30"#)
    });
    let counts = subscription(&daemon, "E_IN").to_string();
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
        "run_instructions = 1000000000000\nrun_seconds = 0.2",
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
        let unanswered = format!(r#""unanswered":{}"#, RUNAWAYS.len());
        eventually("all are counted", || {
            subscription(&daemon, "E_IN")
                .to_string()
                .contains(&unanswered)
        });
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
fn events_run_between_timers_that_are_all_late() {
    let daemon = serve(
        r#"local ran = 0
        for i = 1, 30 do
            timer_route(0.001, function()
                local begun = os.clock()
                while os.clock() < begun + 0.02 do end
                ran = ran + 1
            end)
        end
        event_route["E_IN"] = function()
            for n = 0, 29 do raise_event("E_NEXT", { { "n", n } }) end
        end
        event_route["E_NEXT"] = function(ev)
            raise_event("E_OUT", { { "n", ev:param("n") }, { "ran", ran } })
        end"#,
    );
    let socket = listener(&daemon);
    raise(&daemon, "E_IN", &json!({}));
    let ran: Vec<u64> = (0..30)
        .map(|n| {
            let event = params(&socket);
            assert_eq!(event["n"], n);
            event["ran"].as_u64().unwrap()
        })
        .collect();
    let ran = ran[29] - ran[0];
    // If each event waited for all of them, there would be 900.
    assert!(ran < 300, "{ran}");
}

#[test]
fn what_has_waited_too_long_is_not_run() {
    let busy = "local first = true
        event_route.E_IN = function(ev)
            raise_event('E_OUT', { { 'n', ev:param('n') } })
            if first then
                first = false
                local begun = os.time()
                while os.time() < begun + 12 do end
            end
        end\n";
    let limits = "run_seconds = 60\nrun_instructions = 1000000000000\n[queue]\nseconds = 5\n";
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
    // The last run says so before it ends.
    eventually("all have run", || stat(&daemon, "script:runs") == 101);
    assert_eq!(stat(&daemon, "script:nested"), 2);
    assert_eq!(stat(&daemon, "evi:dropped_before_nested"), 2);
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
