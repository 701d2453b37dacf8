//! The management server over real FIFOs and sockets.

mod support;

use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use bellwire::Config;
use bellwire::Engine;
use bellwire::Expire;
use bellwire::mi::Commands;
use bellwire::mi::DatagramConfig;
use bellwire::mi::FifoConfig;
use bellwire::mi::Options;
use bellwire::mi::Server;
use bellwire::mi::ServerConfig;
use serde_json::Value as Json;
use support::ReplyFifo;
use support::TempDir;
use support::wait_for;

/// A server with one FIFO, one UDP and one UNIX socket.
struct Scene {
    directory: TempDir,
    engine: Engine,
    commands: Commands,
    server: Option<Server>,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let directory = TempDir::new();
        let engine = Engine::start(Config::default()).unwrap();
        engine.declare("E_ONE").unwrap();
        engine.declare("E_TWO").unwrap();
        let commands = Commands::new(engine.handle(), Options::default());
        let mut config = ServerConfig::default();
        let mut fifo = FifoConfig::new(directory.file("mi"));
        fifo.reply_dir = directory.path().to_owned();
        config.fifos.push(fifo);
        config
            .datagrams
            .push(DatagramConfig::new("udp:127.0.0.1:0"));
        let socket = directory.file("mi.sock").display().to_string();
        config
            .datagrams
            .push(DatagramConfig::new(format!("unix:{socket}")));
        change(&mut config);
        let server = Server::start(commands.clone(), config).unwrap();
        Self {
            directory,
            engine,
            commands,
            server: Some(server),
        }
    }

    fn fifo(&self) -> PathBuf {
        self.directory.file("mi")
    }

    fn reply(&self, name: &str) -> ReplyFifo {
        ReplyFifo::new(self.directory.file(name))
    }

    /// Sends through the FIFO and reads what comes to the reply FIFO `r`.
    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut reply = self.reply("r");
        support::send(&self.fifo(), request);
        reply.read()
    }

    fn udp_client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let address = &self.server.as_ref().unwrap().sockets()[0];
        client
            .connect(address.strip_prefix("udp:").unwrap())
            .unwrap();
        client
    }

    fn unix_client(&self) -> UnixDatagram {
        let client = UnixDatagram::bind(self.directory.file("client.sock")).unwrap();
        client.set_read_timeout(Some(support::PATIENCE)).unwrap();
        client.connect(self.directory.file("mi.sock")).unwrap();
        client
    }

    fn statistic(&self, name: &str) -> u64 {
        let request = format!(
            r#"{{"jsonrpc":"2.0","method":"get_statistics","params":[["{name}"]],"id":1}}"#
        );
        let reply = self
            .commands
            .answer(request.as_bytes())
            .into_json()
            .unwrap();
        let reply: Json = serde_json::from_slice(&reply).unwrap();
        reply["result"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("{reply}"))
    }

    /// Everything a request could change.
    fn state(&self) -> String {
        let subscriptions = self.engine.subscriptions(None);
        let subscriptions: Vec<_> = subscriptions
            .iter()
            .map(|s| (&s.event, &s.socket, s.expire))
            .collect();
        let events: Vec<_> = self
            .engine
            .events()
            .iter()
            .map(|e| e.name().to_string())
            .collect();
        format!("{events:?} {subscriptions:?}")
    }
}

const WHICH: &str = r#"{"jsonrpc":"2.0","method":"which","id":1}"#;

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

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
    assert!(which.starts_with("200 OK\nstatistics:get\n") && which.ends_with("evi:raise\n\n"));
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
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let socket = format!("udp:{}", receiver.local_addr().unwrap());
    scene
        .engine
        .subscribe("E_ONE", &socket, Expire::never())
        .unwrap();
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

#[test]
fn several_requests_in_one_write_are_all_answered() {
    let scene = Scene::new();
    let names = ["a", "b", "c", "d"];
    let mut replies = names.map(|name| scene.reply(name));
    let request = concat!(
        r#":a:{"jsonrpc":"2.0","method":"events_list","id":"a"}"#,
        ":events_list:b\n\n\n",
        r#":c:{"jsonrpc":"2.0","method":"nope","id":"c"}"#,
        "\n",
        r#"::{"jsonrpc":"2.0","method":"which","id":"nobody"}"#,
        r#":d:{"jsonrpc":"2.0","method":"version","id":"d"}"#,
    );
    support::send(&scene.fifo(), request);
    let [a, b, c, d] = &mut replies;
    assert!(a.read().ends_with(r#""id":"a"}"#));
    assert_eq!(
        b.read(),
        "200 OK\nEvent:: E_ONE id=0\nEvent:: E_TWO id=1\n\n"
    );
    assert!(c.read().contains("Method not found"));
    assert!(d.read().ends_with(r#""id":"d"}"#));
}

#[test]
fn replies_to_one_fifo_do_not_mix() {
    let scene = Scene::new();
    // Larger than a pipe, so that the first is still under way when the second is ready.
    for number in 0..3000 {
        let socket = format!("udp:127.0.0.1:{}", 10_000 + number);
        scene
            .engine
            .subscribe("E_ONE", &socket, Expire::never())
            .unwrap();
    }
    let mut reply = scene.reply("r");
    let listing = r#":r:{"jsonrpc":"2.0","method":"subscribers_list","id":"first"}"#;
    let second = r#":r:{"jsonrpc":"2.0","method":"events_list","id":"second"}"#;
    support::send(&scene.fifo(), format!("{listing}{second}"));
    let mut text = reply.read();
    while !text.ends_with(r#""id":"second"}"#) {
        text += &reply.read();
    }
    let (first, second) = text.split_once(r#""id":"first"}"#).unwrap();
    assert!(first.len() > 65536);
    assert!(!first.contains("second"));
    assert!(second.starts_with(r#"{"jsonrpc":"2.0","result":{"Events":[{"name":"E_ONE""#));
}

#[test]
fn a_request_split_at_any_byte_is_put_together() {
    let scene = Scene::new();
    let json = r#":r:{"jsonrpc": "2.0", "method": "events_list", "id": "é"}"#;
    let text = ":subscribers_list:r\nE_ONE\n\n";
    for request in [json, text] {
        let whole = scene.ask(request);
        let bytes = request.as_bytes();
        for at in 1..bytes.len() {
            let mut reply = scene.reply("r");
            let mut fifo = support::open_requests(&scene.fifo());
            fifo.write_all(&bytes[..at]).unwrap();
            // The server has read the first part once the FIFO is empty again.
            wait_for("the server to read", || {
                (rustix::io::ioctl_fionread(&fifo).unwrap() == 0).then_some(())
            });
            fifo.write_all(&bytes[at..]).unwrap();
            assert_eq!(reply.read(), whole, "split at {at}");
        }
    }
}

#[test]
fn requests_up_to_the_limit_are_taken_and_longer_ones_told_so() {
    let scene = Scene::new();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let socket = format!("udp:{}", receiver.local_addr().unwrap());
    scene
        .engine
        .subscribe("E_ONE", &socket, Expire::never())
        .unwrap();
    let request = |length: usize| {
        let value = "v".repeat(length);
        format!(
            r#":r:{{"jsonrpc":"2.0","method":"raise_event","id":1,"params":["E_ONE",["{value}"]]}}"#
        )
    };
    let ok = r#"{"jsonrpc":"2.0","result":"OK","id":1}"#;
    for length in [4000, 10_000, 65_000] {
        assert_eq!(scene.ask(request(length)), ok);
        assert_eq!(receive(&receiver).len(), length + 50 - 2, "{length}");
    }
    for length in [65_536, 200_000, 2_000_000] {
        let reply = scene.ask(request(length));
        assert!(reply.contains("longer than 65536 bytes"), "{reply}");
    }
    assert_eq!(scene.ask(request(10)), ok);
}

#[test]
fn half_a_request_is_given_up_and_told_so() {
    let scene = Scene::new();
    let mut reply = scene.reply("r");
    let start = Instant::now();
    support::send(&scene.fifo(), r#":r:{"jsonrpc":"2.0","method":"#);
    let parse_error =
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}"#;
    assert_eq!(reply.read(), parse_error);
    assert!(start.elapsed() >= bellwire::limits::FIFO_SPLIT_TIME);
    drop(reply);
    assert_eq!(scene.ask(":r:nonsense with blanks"), parse_error);
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

#[test]
fn a_reader_that_comes_late_is_waited_for_without_holding_up_others() {
    let scene = Scene::new();
    let late = scene.directory.file("late");
    support::make_fifo(&late);
    wait_for("a late reader's reply", || {
        let dropped = scene.statistic("mi:replies_dropped");
        support::send(&scene.fifo(), format!(":late:{WHICH}"));
        // Answered while the other still waits, else this says nothing: then once more.
        assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
        if scene.statistic("mi:replies_dropped") != dropped {
            return None;
        }
        let mut reader = ReplyFifo::open(late.clone());
        let text = reader.read_or(|| scene.statistic("mi:replies_dropped") != dropped)?;
        assert!(text.contains("evi:subscribe"), "{text}");
        Some(())
    });
}

#[test]
fn a_reply_that_nobody_reads_is_dropped_and_counted() {
    let scene = Scene::new();
    support::make_fifo(&scene.directory.file("nobody"));
    support::send(&scene.fifo(), format!(":nobody:{WHICH}"));
    support::send(&scene.fifo(), format!(":absent:{WHICH}"));
    let dropped = || (scene.statistic("mi:replies_dropped") == 2).then_some(());
    wait_for("both replies to be dropped", dropped);
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

#[test]
fn who_asks_too_much_waits_and_nobody_else_does() {
    let scene = Scene::with(|config| config.requests_per_second = 200);
    let start = Instant::now();
    // A burst of 1000, and two seconds' worth more.
    let flood = r#"::{"jsonrpc":"2.0","method":"uptime"}"#.repeat(1400);
    support::send(&scene.fifo(), flood);
    wait_for("the burst to be run", || {
        (scene.statistic("mi:requests") == 1400).then_some(())
    });
    let mut reply = scene.reply("r");
    support::send(&scene.fifo(), format!(":r:{WHICH}"));
    let client = scene.udp_client();
    client.send(WHICH.as_bytes()).unwrap();
    assert!(receive(&client).contains("result"));
    assert_eq!(scene.statistic("mi:requests"), 1401, "the FIFO has to wait");
    assert!(reply.read().contains("result"));
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[test]
fn a_reader_that_stops_reading_holds_nobody_up() {
    let scene = Scene::new();
    for number in 0..5000 {
        let socket = format!("udp:127.0.0.1:{}", 10_000 + number);
        scene
            .engine
            .subscribe("E_ONE", &socket, Expire::never())
            .unwrap();
    }
    let list = r#"{"jsonrpc":"2.0","method":"subscribers_list","id":1}"#;
    let stuck = scene.reply("stuck");
    support::send(&scene.fifo(), format!(":stuck:{list}"));
    let start = Instant::now();
    // A reader that does read gets all of it meanwhile.
    let whole = scene.ask(format!(":r:{list}"));
    assert!(whole.len() > 200_000 && whole.ends_with(r#""id":1}"#));
    assert!(start.elapsed() < Duration::from_secs(5));
    wait_for("the stuck reply to be dropped", || {
        (scene.statistic("mi:replies_dropped") == 1).then_some(())
    });
    drop(stuck);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let scene = Scene::new();
    for number in 0..5000 {
        let socket = format!("udp:127.0.0.1:{}", 10_000 + number);
        scene
            .engine
            .subscribe("E_ONE", &socket, Expire::never())
            .unwrap();
    }
    let reply = scene.reply("gone");
    let list = r#"{"jsonrpc":"2.0","method":"subscribers_list","id":1}"#;
    support::send(&scene.fifo(), format!(":gone:{list}"));
    wait_for("the request to be run", || {
        (scene.statistic("mi:requests") == 1).then_some(())
    });
    drop(reply);
    wait_for("the drop", || {
        (scene.statistic("mi:replies_dropped") == 1).then_some(())
    });
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

#[test]
fn replies_go_to_plain_fifos_only() {
    let scene = Scene::new();
    let file = scene.directory.file("precious");
    std::fs::write(&file, "precious").unwrap();
    let target = TempDir::new();
    let mut elsewhere = ReplyFifo::new(target.file("target"));
    std::os::unix::fs::symlink(target.file("target"), scene.directory.file("link")).unwrap();
    for name in ["precious", "link"] {
        support::send(&scene.fifo(), format!(":{name}:{WHICH}"));
    }
    wait_for("both to be refused", || {
        (scene.statistic("mi:replies_dropped") == 2).then_some(())
    });
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    for name in ["../x", "/etc/passwd", "a.b", "a\\b"] {
        support::send(&scene.fifo(), format!(":{name}:{WHICH}"));
    }
    wait_for("the names to be refused", || {
        (scene.statistic("mi:malformed") == 4).then_some(())
    });
    assert_eq!(scene.statistic("mi:requests"), 2);
    // Nothing came through the link: the next reply there is the first.
    std::fs::remove_file(scene.directory.file("link")).unwrap();
    let _ = &mut elsewhere;
}

#[test]
fn a_fifo_that_vanishes_is_made_again() {
    let scene = Scene::with(|config| config.fifo_check = Duration::from_millis(20));
    for round in 1..=3 {
        std::fs::remove_file(scene.fifo()).unwrap();
        wait_for("the FIFO", || scene.fifo().exists().then_some(()));
        assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
        assert_eq!(scene.statistic("mi:fifos_remade"), round);
    }
    let mode = std::fs::metadata(scene.fifo())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn stopping_removes_what_was_made() {
    let mut scene = Scene::new();
    let (fifo, socket) = (scene.fifo(), scene.directory.file("mi.sock"));
    assert!(fifo.exists() && socket.exists());
    scene.server.take().unwrap().stop();
    assert!(!fifo.exists() && !socket.exists());
    let statistics = br#"{"jsonrpc":"2.0","method":"get_statistics","params":["mi:"],"id":1}"#;
    let reply = scene.commands.answer(statistics).into_json().unwrap();
    assert!(
        String::from_utf8(reply)
            .unwrap()
            .contains("Statistics Not Found")
    );
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let scene = Scene::new();
    let start = |change: &dyn Fn(&mut ServerConfig)| {
        let mut config = ServerConfig::default();
        change(&mut config);
        Server::start(scene.commands.clone(), config)
            .unwrap_err()
            .to_string()
    };
    let error = start(&|config| config.fifos.push(FifoConfig::new(scene.fifo())));
    assert!(error.contains("another process serves it"), "{error}");
    let socket = scene.directory.file("mi.sock").display().to_string();
    let error = start(&|config| config.datagrams.push(DatagramConfig::new(socket.clone())));
    assert!(
        error.contains("another process serves this socket"),
        "{error}"
    );
    let error = start(&|config| {
        let mut fifo = FifoConfig::new(scene.directory.file("other"));
        fifo.reply_dir = "/no/such/directory".into();
        config.fifos.push(fifo);
    });
    assert!(
        error.contains("reply directory /no/such/directory"),
        "{error}"
    );
    assert!(
        !scene.directory.file("other").exists(),
        "nothing is left behind"
    );
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

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

/// Requests of all kinds that must change nothing, whatever happens to their bytes: they name
/// events that do not exist.
const GOOD: &[&str] = &[
    r#"{"jsonrpc":"2.0","method":"event_subscribe","params":["E_NO","udp:127.0.0.1:9",60],"id":1}"#,
    r#"{"jsonrpc":"2.0","method":"evi:raise","params":{"event":"E_NO","params":[1,"b"]},"id":"x"}"#,
    r#"{"jsonrpc":"2.0","method":"subscribe","params":{"event":"E_NO","socket":"unix:/x"},"id":7}"#,
    r#"{"jsonrpc":"2.0","method":"no_such_cmd","params":[],"id":null}"#,
];

/// By hand: what generators do not come upon.
const BAD: &[&str] = &[
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    r#"[{"jsonrpc":"2.0","method":"which","id":1}]"#,
    r#"{"jsonrpc":"2.0","method":"which","id":{}}"#,
    r#"{"jsonrpc":"2.0","method":"which","id":1,"id":2}"#,
    r#"{"jsonrpc":"2.0","method":null,"id":1}"#,
    r#"{"jsonrpc":"2.0","method":"","id":1}"#,
    r#"{"jsonrpc":"2.0","method":"list","id":1}"#,
];

/// Parameters by hand, and their commands.
const BAD_PARAMS: &[(&str, &str)] = &[
    ("which", r#"["no_such"]"#),
    ("events_list", "[1]"),
    ("get_statistics", "[]"),
    ("get_statistics", "[[]]"),
    ("get_statistics", "[[{}]]"),
    ("get_statistics", r#"["no:such"]"#),
    ("event_subscribe", r#"["E_ONE"]"#),
    ("event_subscribe", r#"["","udp:127.0.0.1:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp"]"#),
    ("event_subscribe", r#"["E_ONE","udp:"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:0"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:65536"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:-1"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9\u0000"]"#),
    ("event_subscribe", r#"["E_ONE","udp:0.0.0.0:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:224.0.0.1:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:8.8.8.8:9"]"#),
    ("event_subscribe", r#"["E_ONE","udp:[fe80::1%lo]:9"]"#),
    ("event_subscribe", r#"["E_ONE","unix:"]"#),
    ("event_subscribe", r#"["E_ONE","unix:/a\u0000b"]"#),
    ("event_subscribe", r#"["E_ONE","route:E_ONE"]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",-1]"#),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9","x"]"#),
    (
        "event_subscribe",
        r#"["E_ONE","udp:127.0.0.1:9",9223372036854775808]"#,
    ),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",1e300]"#),
    (
        "event_subscribe",
        r#"["E_ONE","udp:127.0.0.1:9","9223372036854775808"]"#,
    ),
    ("event_subscribe", r#"["E_ONE","udp:127.0.0.1:9",{}]"#),
    (
        "event_subscribe",
        r#"{"event":"E_ONE","event":"E_TWO","socket":"udp:127.0.0.1:9"}"#,
    ),
    ("raise_event", r#"["E_TWO","x"]"#),
    ("raise_event", r#"["E_ONE","[1]"]"#),
    ("raise_event", r#"["E_ONE",5]"#),
    ("raise_event", r#"["E_ONE",true]"#),
];

/// Whether a text is a request that is run and not answered.
fn is_notification(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut texts = serde_json::Deserializer::from_str(&text).into_iter::<Json>();
    let Some(Ok(json)) = texts.next() else {
        return false;
    };
    let params = &json["params"];
    json["jsonrpc"] == "2.0"
        && json["method"].is_string()
        && json.get("id").is_none()
        && (json.get("params").is_none() || params.is_array() || params.is_object())
}

fn malformed() -> Vec<Vec<u8>> {
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(65_000));
    let deep = "{\"a\":".repeat(100) + "1" + &"}".repeat(100);
    let by_hand = BAD.iter().map(|text| text.as_bytes().to_vec());
    let with_params = BAD_PARAMS.iter().map(|(method, params)| {
        format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":1}}"#).into_bytes()
    });
    let mut all: Vec<_> = by_hand
        .chain(with_params)
        .chain([long.into_bytes(), deep.into_bytes()])
        .collect();
    let mutants = support::mutants(GOOD, 2000, 0x9e37_79b9_7f4a_7c15);
    all.extend(mutants.into_iter().filter(|text| !is_notification(text)));
    assert!(all.len() > 1000);
    all
}

/// A subscriber that must be left alone.
fn settle(scene: &Scene) {
    scene
        .engine
        .subscribe("E_ONE", "udp:127.0.0.1:9", Expire::never())
        .unwrap();
}

#[test]
fn malformed_datagrams_get_an_error_each_and_change_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let (udp, unix) = (scene.udp_client(), scene.unix_client());
    for request in malformed() {
        udp.send(&request).unwrap();
        let reply = receive(&udp);
        let shown = String::from_utf8_lossy(&request).into_owned();
        let is_error = reply.contains("\"error\":{\"code\":")
            || reply.starts_with("400 ")
            || reply.starts_with("500 command");
        assert!(is_error, "{shown}: {reply}");
        unix.send(&request).unwrap();
        let mut buffer = vec![0; 65536];
        let length = unix.recv(&mut buffer).unwrap();
        assert_eq!(reply.as_bytes(), &buffer[..length], "{shown}");
    }
    assert_eq!(scene.state(), before);
    udp.send(WHICH.as_bytes()).unwrap();
    assert!(receive(&udp).contains("result"));
}

#[test]
fn malformed_requests_on_the_fifo_get_an_error_each_and_change_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let mut reply = scene.reply("r");
    let mut asked = 0;
    for body in malformed() {
        // What does not end is told so after a second; the others at once.
        let mut texts =
            serde_json::Deserializer::from_slice(&body).into_iter::<serde::de::IgnoredAny>();
        let is_open = match texts.next() {
            None => true,
            Some(Err(error)) => error.is_eof(),
            Some(Ok(_)) => false,
        };
        if is_open || !matches!(body.first(), Some(b'{' | b'[')) {
            continue;
        }
        asked += 1;
        support::send(&scene.fifo(), [b":r:".as_slice(), &body].concat());
        let text = reply.read();
        let shown = String::from_utf8_lossy(&body);
        assert!(text.contains("\"error\":{\"code\":"), "{shown}: {text}");
    }
    assert!(asked > 500, "{asked}");
    assert_eq!(scene.state(), before);
    drop(reply);
    assert!(scene.ask(format!(":r:{WHICH}")).contains("result"));
}

#[test]
fn noise_on_the_fifo_changes_nothing() {
    let scene = Scene::new();
    settle(&scene);
    let before = scene.state();
    let framed: Vec<String> = GOOD.iter().map(|good| format!(":none:{good}")).collect();
    let mut framed: Vec<&str> = framed.iter().map(String::as_str).collect();
    framed.push(":event_subscribe:none\nE_NO\nudp:127.0.0.1:9\n\n");
    framed.push(":subscribers_list:none\nE_NO\n\n");
    for noise in support::mutants(&framed, 1000, 0x1234_5678_9abc_def1) {
        support::send(&scene.fifo(), noise);
    }
    support::send(&scene.fifo(), "\n\n");
    // Whatever is half open is given up after a second.
    wait_for("a reply", || {
        let mut reply = scene.reply("r");
        support::send(&scene.fifo(), format!("\n\n:r:{WHICH}"));
        reply.read().contains("result").then_some(())
    });
    assert_eq!(scene.state(), before);
    assert!(scene.statistic("mi:malformed") > 300);
}
