//! The start, the stop, and what the configuration says.

use super::*;

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
    let next = format!("log('loaded')\n{ECHO}");
    fs::write(daemon.dir.path("routes.lua"), next).unwrap();
    daemon.signal(Signal::HUP);
    // Of two signals at once, the later may be seen alone.
    daemon.await_error("script: loaded");
    daemon.signal(Signal::TERM);
    daemon.await_error("nothing reloaded: routes.script: the daemon is told to stop");
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
