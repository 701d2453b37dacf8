//! A script that changes while events come.

use super::*;

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
    let limits = "run_seconds = 60\n[limits]\nunix_wait_seconds = 60.0\n\
                  [queue]\nseconds = 600\nevents = 1000000\nbytes = 100000000\n";
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
    // The last event was received before the run that raised it ended.
    eventually("all are counted", || {
        stat(&daemon, "script:runs") == raised && stat(&daemon, "evi:delivered") == 2 * raised
    });
    assert_eq!(stat(&daemon, "script:reloads"), RELOADS);
    assert_eq!(stat(&daemon, "evi:dropped"), 0);
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
