//! SIGHUP: what a new file changes, and that a bad one changes nothing.

mod support;

use rustix::process::Signal;
use support::{Daemon, Home, next, receiver};

fn subscription(event: &str, socket: &str) -> String {
    format!("[[subscribe]]\nevent = \"{event}\"\nsocket = \"{socket}\"\n")
}

/// Reloads this text and waits until the daemon has said so.
#[track_caller]
fn reload(daemon: &Daemon, text: &str, said: &str) {
    daemon.dir.configure(text);
    daemon.signal(Signal::HUP);
    daemon.await_error(said);
}

#[test]
fn a_good_file_takes_effect() {
    let (first, first_name) = receiver();
    let (second, second_name) = receiver();
    let (client, client_name) = receiver();
    let daemon = Home::new().serve(&subscription("E_PIKE_BLOCKED", &first_name));
    daemon
        .dir
        .succeed(&["subscribe", "E_PIKE_BLOCKED", &client_name]);
    let text = format!(
        "events.declare = [\"E_NEW\"]\nlimits.workers = 3\npolicy.allow = [\"127.0.0.1/32\"]\n{}{}",
        subscription("E_PIKE_BLOCKED", &second_name),
        subscription("E_NEW", &second_name),
    );
    reload(
        &daemon,
        &text,
        "reloaded: 1 events declared, 2 subscriptions made, 1 ended",
    );
    daemon.await_error("takes effect at the next start: [limits]");

    daemon.dir.succeed(&["raise", "E_NEW"]);
    assert!(next(&second).contains("E_NEW"));
    daemon.dir.succeed(&["raise", "E_PIKE_BLOCKED", "n:=1"]);
    assert!(next(&second).contains("\"n\":1"));
    assert!(
        next(&client).contains("\"n\":1"),
        "what a client subscribed stays"
    );
    first.set_nonblocking(true).unwrap();
    assert!(
        first.recv(&mut [0; 9]).is_err(),
        "what left the file hears no more"
    );
    let refusal = daemon
        .dir
        .fail(1, &["subscribe", "E_NEW", "udp:10.0.0.1:9"]);
    assert!(refusal.contains("not in an allowed network"), "{refusal}");

    reload(
        &daemon,
        "",
        "reloaded: 0 events declared, 0 subscriptions made, 2 ended",
    );
    daemon
        .dir
        .succeed(&["subscribe", "E_NEW", "udp:10.0.0.1:9"]);
    assert!(daemon.terminate().0.success());
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let (socket, name) = receiver();
    let (_other, other_name) = receiver();
    let good = subscription("E_PIKE_BLOCKED", &name);
    let daemon = Home::new().serve(&good);
    let listed = || {
        let subscribers = daemon.dir.succeed(&["subscribers"]);
        (subscribers, daemon.dir.succeed(&["events"]))
    };
    let before = listed();
    let added = subscription("E_PIKE_BLOCKED", &other_name);
    for (text, said) in [
        (
            "limits.wokers = 1\n".to_owned(),
            "toml:1: limits: unknown key `wokers`; did you mean `workers`?",
        ),
        (format!("{added}[[[\n"), "toml:4: "),
        (
            format!("{added}[mi.http]\nlisten = 5\n"),
            "toml:5: mi.http.listen: ",
        ),
        (
            format!("{added}{}", subscription("E_NO_SUCH", &name)),
            "toml:4: unknown event",
        ),
        (
            format!("{added}{}", subscription("E_PIKE_BLOCKED", "zzz:1")),
            "unknown transport \"zzz\"",
        ),
        (format!("policy.allow = []\n{added}"), "toml:2: socket"),
    ] {
        reload(&daemon, &text, said);
        assert!(
            daemon.errors().contains("nothing reloaded: "),
            "{}",
            daemon.errors()
        );
        assert_eq!(listed(), before, "{text}");
    }
    // The policy of the last bad file does not hold, either.
    daemon
        .dir
        .succeed(&["subscribe", "E_PIKE_BLOCKED", "udp:127.0.0.1:9"]);
    daemon.dir.succeed(&["raise", "E_PIKE_BLOCKED"]);
    next(&socket);
    std::fs::remove_file(daemon.dir.path("bellwire.toml")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.await_error("No such file");
    assert!(daemon.terminate().0.success());
}

#[test]
fn a_tighter_policy_ends_what_it_forbids() {
    let (_first, allowed) = receiver();
    let daemon = Home::new().serve("");
    for socket in ["udp:10.0.0.1:9", &allowed] {
        daemon.dir.succeed(&["subscribe", "E_PIKE_BLOCKED", socket]);
    }
    reload(
        &daemon,
        "policy.allow = [\"127.0.0.0/8\"]\n",
        "reloaded: 0 events declared, 0 subscriptions made, 1 ended",
    );
    let left = daemon.dir.succeed(&["subscribers"]);
    assert!(
        left.contains(&allowed) && !left.contains("10.0.0.1"),
        "{left}"
    );
}
