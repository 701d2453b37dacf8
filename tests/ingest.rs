//! The ingest over real sockets: what comes in goes out, unchanged.

mod support;

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::Mutex;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::mi::Commands;
use bellwire::mi::Options;
use bellwire::source::Ingest;
use bellwire::source::IngestOptions;
use bellwire::source::IngestStats;
use support::TempDir;
use support::wait_for;

struct Scene {
    engine: Engine,
    ingest: Ingest,
    directory: TempDir,
    receiver: UdpSocket,
    sender: UdpSocket,
}

impl Scene {
    fn new(change: impl FnOnce(&mut IngestOptions)) -> Self {
        Self::with(Config::default(), change)
    }

    fn with(config: Config, change: impl FnOnce(&mut IngestOptions)) -> Self {
        let engine = Engine::start(config).unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let socket = format!("udp:{}", receiver.local_addr().unwrap());
        engine.declare("E_X").unwrap();
        engine.declare("E_UNHEARD").unwrap();
        engine.subscribe("E_X", &socket, Expire::never()).unwrap();
        let mut options = IngestOptions::default();
        change(&mut options);
        let directory = TempDir::new();
        let unix = format!("unix:{}", directory.file("events.sock").display());
        let sockets = ["udp:127.0.0.1:0".to_owned(), unix];
        let ingest = Ingest::start(engine.handle(), &sockets, options).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender
            .connect(ingest.sockets()[0].strip_prefix("udp:").unwrap())
            .unwrap();
        Self {
            engine,
            ingest,
            directory,
            receiver,
            sender,
        }
    }

    fn send(&self, payload: impl AsRef<[u8]>) {
        self.sender.send(payload.as_ref()).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let length = self.receiver.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }
}

#[test]
fn nothing_is_sent_to_where_events_come_in() {
    let scene = Scene::new(|_| {});
    let own = scene.ingest.sockets().to_vec();
    let unix = own[1].replace("unix:/", "unix://./");
    let text = format!("{}?format=text", own[0]);
    let name = own[0].replace("127.0.0.1", "localhost");
    let mapped = own[0].replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let group = format!("virtual:PARALLEL udp:127.0.0.1:9 {}", own[1]);
    for socket in [&own[0], &own[1], &unix, &text, &name, &mapped, &group] {
        let refused = scene.engine.subscribe("E_X", socket, Expire::never());
        let refusal = refused.expect_err(socket).to_string();
        assert!(refusal.contains("raised again"), "{refusal}");
    }
    // Another socket may take its place.
    scene.ingest.stop();
    for socket in &own {
        scene
            .engine
            .subscribe("E_X", socket, Expire::never())
            .unwrap();
    }
}

/// Waits until so many datagrams have their outcome.
fn counted(scene: &Scene, count: u64) -> IngestStats {
    wait_for("all to be counted", || {
        let s = scene.ingest.stats();
        let outcomes = s.raised + s.unheard + s.dropped + s.bad_json + s.bad_text + s.unknown;
        (s.received == count && outcomes + s.too_big == count).then_some(s)
    })
}

#[test]
fn notifications_go_out_with_the_bytes_they_came_with() {
    let scene = Scene::new(|_| {});
    for payload in [
        r#"{"jsonrpc":"2.0","method":"E_X"}"#,
        r#"{"jsonrpc":"2.0","method":"E_X","params":{"ip":"1.2.3.4","port":5060}}"#,
        r#"{"jsonrpc":"2.0","method":"E_X","params":["a",2,null,-0.50]}"#,
        r#"{ "params" : {"k":1, "k" : 2, "":[1, {"é":"😀"}]}, "method":"E_X", "jsonrpc":"2.0" }"#,
        r#"{"jsonrpc":"2.0","method":"E_X","params":{}}"#,
        "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":[\"\u{7f}\",\"\\u00e9\"]}",
    ] {
        scene.send(payload);
        assert_eq!(String::from_utf8(scene.receive()).unwrap(), payload);
    }
    wait_for("the counts", || {
        (scene.ingest.stats().raised == 6).then_some(())
    });
    assert_eq!(scene.ingest.stats().received, 6);
}

#[test]
fn invalid_utf8_is_repaired_and_white_space_around_is_not_sent() {
    let scene = Scene::new(|_| {});
    scene.send(b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":[\"a\xff\xfeb\xc3\"]}");
    let repaired =
        "{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":[\"a\u{fffd}\u{fffd}b\u{fffd}\"]}";
    assert_eq!(scene.receive(), repaired.as_bytes());
    scene.send(b" \n{\"jsonrpc\":\"2.0\",\"method\":\"E_X\"}\r\n");
    assert_eq!(scene.receive(), br#"{"jsonrpc":"2.0","method":"E_X"}"#);
}

#[test]
fn the_text_of_1x_is_raised_as_what_it_means() {
    let scene = Scene::new(|_| {});
    for (text, params) in [
        ("E_X\n\n", ""),
        (
            "E_X\nip::1.2.3.4\nport::5060\n\n",
            r#","params":{"ip":"1.2.3.4","port":"5060"}"#,
        ),
        ("E_X\none\ntwo\n\n", r#","params":["one","two"]"#),
        (
            "E_X\nv::\"two\n\\\"lines\\\"\"\n\n",
            r#","params":{"v":"two\n\"lines\""}"#,
        ),
    ] {
        scene.send(text);
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"E_X"{params}}}"#);
        assert_eq!(
            String::from_utf8(scene.receive()).unwrap(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn unix_sockets_take_events_too() {
    let scene = Scene::new(|_| {});
    let sender = UnixDatagram::unbound().unwrap();
    let payload = br#"{"jsonrpc":"2.0","method":"E_X","params":["u"]}"#;
    sender
        .send_to(payload, scene.directory.file("events.sock"))
        .unwrap();
    assert_eq!(scene.receive(), payload);
}

#[test]
fn unknown_events_are_counted_or_declared_as_told() {
    let unknown = r#"{"jsonrpc":"2.0","method":"E_NEW","params":[1]}"#;
    let strict = Scene::new(|_| {});
    strict.send(unknown);
    wait_for("the count", || {
        (strict.ingest.stats().unknown == 1).then_some(())
    });
    assert!(strict.engine.event("E_NEW").is_none());

    let open = Scene::new(|options| options.declare_unknown = true);
    open.send(unknown);
    wait_for("the event", || open.engine.event("E_NEW"));
    wait_for("the count", || {
        (open.ingest.stats().unheard == 1).then_some(())
    });
    open.send("E_NEW_TEXT\n\n");
    wait_for("the event", || open.engine.event("E_NEW_TEXT"));
    let bad_name = format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "E".repeat(65));
    open.send(bad_name);
    open.send(r#"{"jsonrpc":"2.0","method":"E X"}"#);
    wait_for("the counts", || {
        (open.ingest.stats().unknown == 2).then_some(())
    });
    assert_eq!(open.engine.events().len(), 4);
}

#[test]
fn each_datagram_has_exactly_one_outcome() {
    let scene = Scene::new(|_| {});
    scene.send(r#"{"jsonrpc":"2.0","method":"E_X"}"#);
    scene.send(r#"{"jsonrpc":"2.0","method":"E_UNHEARD"}"#);
    scene.send(r#"{"jsonrpc":"2.0","method":"E_NOPE"}"#);
    scene.send(r#"{"jsonrpc":"2.0","method":5}"#);
    scene.send("no text either");
    let long = UnixDatagram::unbound().unwrap();
    let socket = socket2::SockRef::from(&long);
    socket.set_send_buffer_size(4 << 20).unwrap();
    let path = scene.directory.file("events.sock");
    let sent = long.send_to(&vec![b'{'; bellwire::limits::PAYLOAD_BYTES + 1], path);
    // The kernel may not let such a datagram through.
    let too_big = u64::from(sent.is_ok());
    let stats = counted(&scene, 5 + too_big);
    assert_eq!(
        (
            stats.raised,
            stats.unheard,
            stats.unknown,
            stats.bad_json,
            stats.bad_text
        ),
        (1, 1, 1, 1, 1)
    );
    assert_eq!((stats.too_big, stats.dropped), (too_big, 0));

    let commands = Commands::new(scene.engine.handle(), Options::default())
        .with_statistics(Arc::new(scene.ingest.statistics()));
    let names = r#"["ingest:bad_json","received"]"#;
    let request =
        format!(r#"{{"jsonrpc":"2.0","method":"get_statistics","params":[{names}],"id":1}}"#);
    let reply =
        String::from_utf8(commands.answer(request.as_bytes()).into_json().unwrap()).unwrap();
    let expected = format!(
        r#"{{"ingest:received":{},"ingest:bad_json":1}}"#,
        5 + too_big
    );
    assert!(reply.contains(&expected), "{reply}");
}

/// The lane is far smaller than the burst: the ingest waits, and the sender is held up by the
/// kernel, but nothing is dropped and the order is kept.
#[test]
fn a_burst_waits_for_room_in_the_lane() {
    const EVENTS: usize = 20_000;
    let mut config = Config::default();
    config.lane_events = 16;
    let scene = Scene::with(config, |_| {});
    let seen = Arc::new(Mutex::new(Vec::with_capacity(EVENTS)));
    let sink = Arc::clone(&seen);
    scene.engine.declare("E_BURST").unwrap();
    scene
        .engine
        .on("E_BURST", move |event| {
            let number = event.nth(0).unwrap().as_i64().unwrap();
            sink.lock().unwrap().push(number);
        })
        .unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(scene.directory.file("events.sock")).unwrap();
    for number in 0..EVENTS {
        let payload = format!(r#"{{"jsonrpc":"2.0","method":"E_BURST","params":[{number}]}}"#);
        sender.send(payload.as_bytes()).unwrap();
    }
    let stats = counted(&scene, EVENTS as u64);
    assert_eq!((stats.raised, stats.dropped), (EVENTS as u64, 0));
    assert_eq!(
        scene
            .engine
            .event_stats("E_BURST")
            .unwrap()
            .dropped_before
            .total(),
        0
    );
    let delivered = || {
        let stats = scene.engine.event_stats("E_BURST").unwrap();
        (stats.in_flight == 0 && stats.matched == EVENTS as u64).then_some(stats.delivered)
    };
    let delivered = wait_for("the handler", delivered);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len() as u64, delivered);
    assert!(
        seen.is_sorted_by(|one, next| one < next),
        "the order is kept"
    );
}

#[test]
fn malformed_datagrams_are_counted_each_and_change_nothing() {
    let scene = Scene::new(|options| options.declare_unknown = true);
    let by_hand: &[&[u8]] = &[
        b"",
        b" ",
        b"\0",
        b"\xff\xfe",
        b"{",
        b"{}",
        b"[]",
        b"[{\"jsonrpc\":\"2.0\",\"method\":\"E_X\"}]",
        b"{\"jsonrpc\":\"1.0\",\"method\":\"E_X\"}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":5}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"id\":1}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"method\":\"E_X\"}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\"}{\"jsonrpc\":\"2.0\",\"method\":\"E_X\"}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":[1e999]}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"E_X\",\"params\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}",
        b"E_X",
        b"E_X\n",
        b"\n\n",
        b"::\n\n",
        b"E X\n\n",
    ];
    let good = [
        r#"{"jsonrpc":"2.0","method":"E X","params":{"ip":"1.2.3.4"}}"#,
        "E X\nip::1.2.3.4\nport::5060\n\n",
    ];
    let mut all: Vec<Vec<u8>> = by_hand.iter().map(|bytes| bytes.to_vec()).collect();
    // No name in these can be declared, but for what a changed byte makes of the blank.
    let mutants = support::mutants(&good, 1000, 0x0f1e_2d3c_4b5a_6978);
    all.extend(mutants.into_iter().filter(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.contains("E X")
    }));
    assert!(all.len() > 500);
    let count = all.len() as u64;
    let before = scene.engine.events().len();
    // The kernel holds a UNIX sender up instead of losing datagrams.
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(scene.directory.file("events.sock")).unwrap();
    for payload in all {
        sender.send(&payload).unwrap();
    }
    let stats = counted(&scene, count);
    assert_eq!(
        stats.bad_json + stats.bad_text + stats.unknown,
        count,
        "{stats:?}"
    );
    assert_eq!((stats.raised, stats.unheard, stats.dropped), (0, 0, 0));
    assert_eq!(scene.engine.events().len(), before);
    assert_eq!(scene.engine.subscriptions(None).len(), 1);
    scene.send(r#"{"jsonrpc":"2.0","method":"E_X","params":["still here"]}"#);
    assert_eq!(
        scene.receive(),
        br#"{"jsonrpc":"2.0","method":"E_X","params":["still here"]}"#
    );
}

#[test]
fn stopping_is_quick_and_removes_the_socket() {
    let scene = Scene::new(|_| {});
    let path = scene.directory.file("events.sock");
    assert!(path.exists());
    let start = std::time::Instant::now();
    scene.ingest.stop();
    assert!(start.elapsed() < support::PATIENCE);
    assert!(!path.exists());
}

/// The sender was told that they arrived; the lane is far too small for them at once.
#[test]
fn what_the_kernel_took_before_the_stop_is_raised() {
    const EVENTS: u64 = 200;
    let mut config = Config::default();
    config.lane_events = 16;
    let scene = Scene::with(config, |_| {});
    for _ in 0..EVENTS {
        scene.send(r#"{"jsonrpc":"2.0","method":"E_X"}"#);
    }
    scene.ingest.stop();
    let stats = scene.engine.event_stats("E_X").unwrap();
    assert_eq!((stats.raised, stats.dropped_before.total()), (EVENTS, 0));
}

#[test]
fn errors_at_the_start_name_the_socket() {
    let engine = Engine::start(Config::default()).unwrap();
    let directory = TempDir::new();
    let first = format!("unix:{}", directory.file("first.sock").display());
    for (socket, problem) in [
        (
            "tcp:127.0.0.1:1",
            "expected udp:<host>:<port> or unix:<path>",
        ),
        ("udp:0.0.0.0:0", "allow remote senders"),
        ("unix:/no/such/dir/x", "/no/such/dir"),
    ] {
        let sockets = [first.clone(), socket.to_owned()];
        let error = Ingest::start(engine.handle(), &sockets, IngestOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(socket) && text.contains(problem), "{text}");
        assert!(
            !directory.file("first.sock").exists(),
            "nothing is left behind"
        );
    }
}
