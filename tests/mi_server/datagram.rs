//! Requests and replies over datagram sockets.

use super::*;

#[test]
fn datagrams_are_answered_where_they_came_from() {
    let scene = Scene::new();
    let (udp, unix) = (scene.udp_client(), scene.unix_client());
    for request in [
        "  {} ",
        "hello",
        "",
        ":which:\n",
        WHICH,
        ":",
        ":which",
        ":no_such:\nx",
    ] {
        udp.send(request.as_bytes()).unwrap();
        let over_udp = receive(&udp);
        unix.send(request.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        let length = unix.recv(&mut buffer).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&buffer[..length]),
            over_udp,
            "{request}"
        );
        let expected = match request {
            "hello" | "" => "400 Parse_error",
            ":which:\n" => "200 OK\nstatistics:get\n",
            ":" => "400 Parse error in command ''\n",
            ":which" => "400 Parse error in command 'which'\n",
            ":no_such:\nx" => "500 command 'no_such' not available\n",
            WHICH => r#"{"jsonrpc":"2.0","result":["#,
            _ => {
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}"#
            }
        };
        assert!(over_udp.starts_with(expected), "{request}: {over_udp}");
    }
}

#[test]
fn a_reply_too_long_for_a_datagram_is_told_so() {
    let scene = Scene::new();
    for number in 0..2000 {
        let socket = format!("udp:127.0.0.1:{}", 10_000 + number);
        scene
            .engine
            .subscribe("E_ONE", &socket, Expire::never())
            .unwrap();
    }
    let client = scene.udp_client();
    client
        .send(br#"{"jsonrpc":"2.0","method":"subscribers_list","id":1}"#)
        .unwrap();
    assert_eq!(receive(&client), "500 Internal error");
    client.send(WHICH.as_bytes()).unwrap();
    assert!(receive(&client).contains("result"));
}

#[test]
fn a_sender_without_an_address_is_not_run() {
    let scene = Scene::new();
    let before = scene.state();
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.connect(scene.directory.file("mi.sock")).unwrap();
    let params = r#"["E_ONE","udp:127.0.0.1:9"]"#;
    let request =
        format!(r#"{{"jsonrpc":"2.0","method":"event_subscribe","params":{params},"id":1}}"#);
    nameless.send(request.as_bytes()).unwrap();
    wait_for("the refusal", || {
        (scene.statistic("mi:malformed") == 1).then_some(())
    });
    assert_eq!(scene.state(), before);
}

#[test]
fn a_full_client_loses_its_reply_and_nobody_else_does() {
    let scene = Scene::new();
    // Not connected, so that its queue has its limit (a handful of datagrams).
    let slow = UnixDatagram::bind(scene.directory.file("slow.sock")).unwrap();
    for _ in 0..1000 {
        slow.send_to(WHICH.as_bytes(), scene.directory.file("mi.sock"))
            .unwrap();
    }
    let client = scene.udp_client();
    client.send(WHICH.as_bytes()).unwrap();
    assert!(receive(&client).contains("result"));
    wait_for("drops", || {
        (scene.statistic("mi:replies_dropped") > 0).then_some(())
    });
}

#[test]
fn host_names_are_looked_up_beside_the_server() {
    let scene = Scene::new();
    let subscribe = |socket: &str| {
        let params = format!(r#"["E_ONE","{socket}"]"#);
        format!(r#":r:{{"jsonrpc":"2.0","method":"subscribe","params":{params},"id":1}}"#)
    };
    let ok = r#"{"jsonrpc":"2.0","result":"OK","id":1}"#;
    assert_eq!(scene.ask(subscribe("udp:localhost:9100")), ok);
    assert_eq!(scene.engine.subscriptions(Some("E_ONE")).len(), 1);
    let text = ":event_subscribe:r\nE_TWO\nudp:localhost:9100\n\n";
    assert_eq!(scene.ask(text), "200 OK\n\n");
    let reply = scene.ask(subscribe("udp:no-such-host.invalid:9100"));
    assert!(
        reply.contains(r#""code":400,"message":"Bad parameter value","data":""#),
        "{reply}"
    );
    assert_eq!(scene.engine.subscriptions(None).len(), 2);
}
