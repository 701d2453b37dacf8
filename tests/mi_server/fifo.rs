//! Requests and replies over FIFOs.

use super::*;

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
            wait_for("two parts in time", || {
                let mut reply = scene.reply("r");
                let mut fifo = support::open_requests(&scene.fifo());
                let begun = Instant::now();
                fifo.write_all(&bytes[..at]).unwrap();
                // The server has read the first part once the FIFO is empty again.
                wait_for("the server to read", || {
                    (rustix::io::ioctl_fionread(&fifo).unwrap() == 0).then_some(())
                });
                fifo.write_all(&bytes[at..]).unwrap();
                let replied = reply.read();
                // Of a part that came too late it may think as it likes: then once more.
                let in_time = begun.elapsed() < bellwire::limits::FIFO_SPLIT_TIME;
                assert!(replied == whole || !in_time, "split at {at}: {replied}");
                (replied == whole).then_some(())
            });
        }
    }
}

#[test]
fn requests_up_to_the_limit_are_taken_and_longer_ones_told_so() {
    let scene = Scene::new();
    let receiver = scene.receiver();
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
    let seen = scene.statistic("mi:requests");
    let in_time = start.elapsed() < Duration::from_secs(2);
    assert!(seen == 1401 || !in_time, "the FIFO has to wait: {seen}");
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
    assert!(start.elapsed() < support::PATIENCE);
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
