use super::*;
use crate::engine::Config;
use crate::engine::Engine;
use crate::mi::commands::Options;
use crate::testing::wait_for;
use crate::transport::listen::ListenOptions;
use crate::transport::listen::Listener;
use crate::transport::listen::Peer;
use std::net::UdpSocket;

/// A server's state, not running, with one UDP socket and its client.
fn scene(engine: &Engine) -> (Serving, UdpSocket, Origin) {
    let options = ListenOptions {
        mode: 0o600,
        remote: false,
        receive_buffer: None,
    };
    let listener = Listener::bind("udp:127.0.0.1:0", &options).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let peer = Peer::Udp(client.local_addr().unwrap());
    let ends = Ends {
        fifos: Vec::new(),
        sockets: vec![listener],
    };
    let (watch, waker) = Watch::new([]).unwrap();
    let (sender, inbox) = crossbeam::channel::unbounded();
    let commands = Commands::new(engine.handle(), Options::default());
    let serving = Serving::new(
        watch,
        ends,
        commands,
        Arc::new(Counters::default()),
        (sender, inbox, Arc::new(waker)),
        Duration::from_secs(30),
        0,
    );
    (serving, client, Origin::Datagram { socket: 0, peer })
}

fn subscribe(event: &str) -> Work {
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"subscribe","params":["{event}","udp:localhost:9"],"id":5}}"#
    );
    Work::Json(Request::parse(text.as_bytes()).unwrap())
}

fn reply(client: &UdpSocket) -> String {
    let mut buffer = [0; 1024];
    let length = client.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn only_so_many_lookups_run_at_one_time() {
    let engine = Engine::start(Config::default()).unwrap();
    engine.declare("E_X").unwrap();
    let (mut serving, client, origin) = scene(&engine);
    let running: Vec<_> = (0..limits::MI_LOOKUPS)
        .map(|_| Arc::clone(&serving.lookups))
        .collect();
    serving.work(origin.clone(), subscribe("E_X"));
    let busy = concat!(
        r#"{"jsonrpc":"2.0","error":{"code":503,"message":"Service Unavailable","#,
        r#""data":"16 name lookups are under way; try again"},"id":5}"#
    );
    assert_eq!(reply(&client), busy);
    assert!(engine.subscriptions(None).is_empty());
    let text = Work::Text {
        command: "event_subscribe".into(),
        body: b"E_X\nudp:localhost:9\n".to_vec(),
    };
    serving.work(origin.clone(), text);
    assert!(reply(&client).starts_with("503 Service Unavailable\n"));
    assert_eq!(serving.counters.lookups_refused.load(Relaxed), 2);

    drop(running);
    let mut replies = 2;
    let said = loop {
        serving.work(origin.clone(), subscribe("E_X"));
        replies += 1;
        wait_for(|| {
            serving.hear();
            serving.keep_time(Instant::now());
            (serving.counters.replies.load(Relaxed) == replies).then_some(())
        });
        let said = reply(&client);
        // The thread that looks it up may stand still for too long: then once more.
        if !said.contains("no answer in") {
            break said;
        }
    };
    assert_eq!(said, r#"{"jsonrpc":"2.0","result":"OK","id":5}"#);
    assert_eq!(engine.subscriptions(None).len(), 1);
    assert_eq!(Arc::strong_count(&serving.lookups), 1);
}

#[test]
fn one_reader_takes_no_more_than_its_places() {
    let engine = Engine::start(Config::default()).unwrap();
    let (mut serving, _client, _) = scene(&engine);
    // Nobody has bound it: what is sent there is refused, so nothing waits. A full UNIX queue does.
    let directory = crate::testing::TempDir::new();
    let options = ListenOptions {
        mode: 0o600,
        remote: false,
        receive_buffer: None,
    };
    let path = directory.file("server");
    serving.ends.sockets = vec![Listener::bind(path.to_str().unwrap(), &options).unwrap()];
    let reader = std::os::unix::net::UnixDatagram::bind(directory.file("reader")).unwrap();
    let peer = Peer::Unix(reader.local_addr().unwrap());
    let origin = Origin::Datagram { socket: 0, peer };
    let sent = wait_for(|| {
        serving.reply(origin.clone(), Some(b"text".to_vec()));
        let waits = serving.outbox.due().is_some();
        waits.then(|| serving.counters.replies.load(Relaxed))
    });
    for _ in 1..limits::REPLIES_TO_ONE {
        serving.reply(origin.clone(), Some(b"text".to_vec()));
    }
    assert_eq!(serving.counters.replies_dropped.load(Relaxed), 0);
    serving.reply(origin, Some(b"text".to_vec()));
    assert_eq!(serving.counters.replies_dropped.load(Relaxed), 1);
    // Once the reader reads, all that wait go out.
    let mut buffer = [0; 16];
    let mut received = 0;
    wait_for(|| {
        reader.set_nonblocking(true).unwrap();
        while reader.recv(&mut buffer).is_ok() {
            received += 1;
        }
        // By the time that the replies were told: this thread may stand still between two of them.
        let due = serving.outbox.due().unwrap_or_else(Instant::now);
        serving.keep_time(due);
        (received == sent + limits::REPLIES_TO_ONE as u64).then_some(())
    });
}
