//! What arrives.

use super::*;

#[test]
fn texts_are_glued_and_arrive_byte_for_byte() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("")], |_| ());
    event.raise(|p| {
        p.str("ip", "192.168.2.11").int("n", -4);
    });
    event.raise(|p| {
        p.item("alpha").item(2);
    });
    event.raise(|_| ());
    assert_eq!(
        peer.take(3),
        [
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"192.168.2.11","n":-4}}"#,
            r#"{"jsonrpc":"2.0","method":"E_X","params":["alpha",2]}"#,
            r#"{"jsonrpc":"2.0","method":"E_X"}"#,
        ]
    );
    assert!(peer.bad.is_empty(), "{:?}", peer.bad);
    assert_eq!(settled(&engine).delivered, 3);
    assert_eq!(only_state(&engine), State::Up);
}

#[test]
fn a_method_and_the_events_name_can_be_asked_for() {
    let mut peer = Stream::new();
    let socket = peer.socket("/my_method?event_param=opensips_event");
    let (engine, event) = heard_by(&[&socket], |_| ());
    event.raise(|p| {
        p.int("a", 1);
    });
    event.raise(|p| {
        p.item(7);
    });
    event.raise(|_| ());
    assert_eq!(
        peer.take(3),
        [
            r#"{"jsonrpc":"2.0","method":"my_method","params":{"opensips_event":"E_X","a":1}}"#,
            r#"{"jsonrpc":"2.0","method":"my_method","params":["E_X",7]}"#,
            r#"{"jsonrpc":"2.0","method":"my_method"}"#,
        ]
    );
    assert_eq!(only(&engine, "E_X").socket, socket);
}

#[test]
fn one_connection_serves_all_subscriptions_of_a_place() {
    let mut peer = Stream::new();
    let (engine, event) = engine(|_| ());
    let other = engine.declare("E_Y").unwrap();
    for rest in ["", "/m", "?reliable=1"] {
        engine
            .subscribe("E_X", &peer.socket(rest), Expire::Never)
            .unwrap();
    }
    engine
        .subscribe("E_Y", &peer.socket("/m"), Expire::Never)
        .unwrap();
    for n in 0..10 {
        raise(&event, n);
        raise(&other, n);
    }
    let texts: Vec<_> = (0..40).map(|_| peer.next_of()).collect();
    assert!(texts.iter().all(|(connection, _)| *connection == 1));
    assert_eq!(peer.opened, 1);
    let plain = texts.iter().filter(|(_, text)| !text.contains("\"id\""));
    let plain: Vec<_> = plain.filter(|(_, text)| text.contains("E_X")).collect();
    assert_eq!(plain.len(), 10);
    assert_eq!(settled(&engine).delivered, 40);
}

#[test]
fn a_stream_of_lines_is_a_connection_of_its_own() {
    let mut peer = Stream::start(&["--lines"]);
    let socket = peer.socket("?framing=newline");
    let (engine, event) = heard_by(&[&socket], |_| ());
    event.raise(|p| {
        p.uint("n", 1).str("v", "two\nlines");
    });
    raise(&event, 2);
    assert_eq!(
        peer.take(2),
        [
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":1,"v":"two\nlines"}}"#,
            r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":2}}"#,
        ]
    );
    engine
        .subscribe("E_X", &peer.socket(""), Expire::Never)
        .unwrap();
    raise(&event, 3);
    peer.next();
    peer.until("another connection", |peer| peer.opened == 2);
    settled(&engine);
}

const GOLDEN: &str = include_str!("../golden/events/tcp.jsonl");

#[test]
fn what_opensips_sent_is_what_arrives() {
    let mut peer = Stream::new();
    let (engine, event) = engine_with("E_G", config(|_| ()));
    engine
        .subscribe("E_G", &peer.socket(""), Expire::Never)
        .unwrap();
    let cases = golden::sent(GOLDEN, "A");
    for case in &cases {
        event.raise(|params| golden::write(params, case));
    }
    for case in &cases {
        golden::compare(peer.next().as_bytes(), case, <[u8]>::to_vec);
    }
    assert_eq!(settled(&engine).delivered, cases.len() as u64);
    assert!(peer.bad.is_empty() && cases.len() == 46);
}

#[test]
fn what_opensips_sent_reliably_is_what_arrives() {
    let mut peer = Stream::new();
    let change = |tcp: &mut Tcp| {
        tcp.reliable = true;
        tcp.reply_time = Duration::from_secs(15);
        tcp.event_param = Some("opensips_event".to_owned());
    };
    let (engine, event) = engine_with("E_G", config(|config| change(&mut config.tcp)));
    let socket = peer.socket("/my_method");
    engine.subscribe("E_G", &socket, Expire::Never).unwrap();
    assert_eq!(only(&engine, "E_G").socket, socket);
    let cases = golden::sent(GOLDEN, "B");
    for case in &cases {
        event.raise(|params| golden::write(params, case));
    }
    for case in &cases {
        let text = peer.next();
        let captured = golden::captured_id(case);
        let ours = text.replacen(&id(&text).to_string(), &captured.to_string(), 1);
        golden::compare(ours.as_bytes(), case, |payload| {
            golden::as_request(payload, captured)
        });
    }
    assert_eq!(settled(&engine).delivered, cases.len() as u64);
    assert!(peer.bad.is_empty() && cases.len() == 46);
}
