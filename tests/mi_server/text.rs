//! The text form of 1.x.

use super::*;

#[test]
fn the_text_form_of_1x_is_spoken_on_the_fifo() {
    let scene = Scene::new();
    let subscribe = ":event_subscribe:r\nE_ONE\nudp:127.0.0.1:8081\n1800\n\n";
    assert_eq!(scene.ask(subscribe), "200 OK\n\n");
    scene
        .engine
        .subscribe("E_ONE", "udp:127.0.0.1:8082", Expire::never())
        .unwrap();
    let listing = concat!(
        "200 OK\nEvent:: E_ONE id=0\n",
        "\tSubscriber::  socket=udp:127.0.0.1:8082 expire=never\n",
        "\tSubscriber::  socket=udp:127.0.0.1:8081 expire=1800\n\n"
    );
    assert_eq!(scene.ask(":subscribers_list:r\n\n"), listing);
    assert_eq!(scene.ask(":evi:subscribers:r\nE_ONE\n\n"), listing);
    let one =
        "200 OK\nEvent:: E_ONE id=0\n\tSubscriber::  socket=udp:127.0.0.1:8081 expire=1800\n\n";
    assert_eq!(
        scene.ask(":subscribers_list:r\nE_ONE\nudp:127.0.0.1:8081\n\n"),
        one
    );
    assert_eq!(
        scene.ask(":subscribers_list:r\nevent::E_TWO\n\n"),
        "200 OK\n\n"
    );
    let events = "200 OK\nEvent:: E_ONE id=0\nEvent:: E_TWO id=1\n\n";
    assert_eq!(scene.ask(":events_list:r\n\n"), events);
    assert_eq!(
        scene.ask(":events_list:r\nmore\n\n"),
        "400 Too few or too many arguments\n\n"
    );
    assert_eq!(
        scene.ask(":event_subscribe:r\nE\n\n"),
        "400 Too few or too many arguments\n\n"
    );
    let unknown = scene.ask(":event_subscribe:r\nE_NO\nudp:127.0.0.1:1\n\n");
    assert!(
        unknown.starts_with("400 Bad parameter\ndata:: unknown event"),
        "{unknown}"
    );
    assert_eq!(
        scene.ask(":subscribers_list:r\nE_NO\n\n"),
        "404 Event not published\n\n"
    );
    let gone = "404 Subscriber does not exist\n\n";
    assert_eq!(scene.ask(":subscribers_list:r\nE_ONE\nzzz\n\n"), gone);
    assert_eq!(
        scene.ask(":no_such:r\n\n"),
        "500 command 'no_such' not available\n"
    );
    let which = scene.ask(":which:r\n\n");
    assert!(
        which.starts_with("200 OK\nstatistics:get\n")
            && which.ends_with("evi:raise\nevent_flatstore:rotate\n\n")
    );
    let version = scene.ask(":version:r\n\n");
    assert!(
        version.starts_with("200 OK\nServer:: Bellwire ("),
        "{version}"
    );
    let statistics = scene.ask(":get_statistics:r\nevi:raised\nmi:requests\n\n");
    assert!(
        statistics.starts_with("200 OK\nevi:raised:: 0\nmi:requests:: "),
        "{statistics}"
    );
    let broken = scene.ask(":which:r\n\"open quote\n\n");
    assert_eq!(broken, "400 Parse error in command 'which'\n");
}

/// The example of the 2011 design, which named the reply FIFO by its path.
#[test]
fn a_reply_path_of_old_is_taken_inside_the_reply_directory_only() {
    let scene = Scene::new();
    let path = scene.directory.file("r");
    let request =
        |path: &str| format!(":event_subscribe:{path}\nE_ONE\nudp:127.0.0.1:8081\n1800\n\n");
    assert_eq!(scene.ask(request(path.to_str().unwrap())), "200 OK\n\n");

    let outside = TempDir::new();
    support::make_fifo(&outside.file("r"));
    let before = scene.state();
    scene
        .engine
        .unsubscribe("E_ONE", "udp:127.0.0.1:8081")
        .unwrap();
    let after = scene.state();
    assert_ne!(before, after);
    support::send(&scene.fifo(), request(outside.file("r").to_str().unwrap()));
    support::send(
        &scene.fifo(),
        request(&format!("{}/../r", scene.directory.path().display())),
    );
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
    assert_eq!(scene.state(), after, "what cannot be answered is not run");
    assert_eq!(scene.statistic("mi:malformed"), 2);
}

#[test]
fn text_requests_raise_events() {
    let scene = Scene::new();
    let receiver = scene.receiver();
    for (lines, params) in [
        ("", ""),
        ("a\nb\n", r#","params":["a","b"]"#),
        (
            "ip::1.2.3.4\nport::5060\n",
            r#","params":{"ip":"1.2.3.4","port":"5060"}"#,
        ),
        ("{\"port\":5060}\n", r#","params":{"port":5060}"#),
        ("t::\"two\nlines\"\n", r#","params":{"t":"two\nlines"}"#),
    ] {
        assert_eq!(
            scene.ask(format!(":raise_event:r\nE_ONE\n{lines}\n")),
            "200 OK\n\n"
        );
        let payload = format!(r#"{{"jsonrpc":"2.0","method":"E_ONE"{params}}}"#);
        assert_eq!(receive(&receiver), payload);
    }
    let nobody = scene.ask(":raise_event:r\nE_TWO\n\n");
    assert_eq!(nobody, "480 Temporarily Unavailable\n\n");
}
