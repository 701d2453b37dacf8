//! Receivers in trouble, and the others.

use super::*;

/// Stops the raisers even if the test fails: the scope would wait for them for ever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Raises numbered events at a steady rate, with the time in microseconds since `begun`; says how
/// many before it was told to stop.
fn raise_steadily(event: &Event, who: u64, begun: Instant, stop: &AtomicBool) -> u64 {
    let mut n = 0;
    while !stop.load(Relaxed) {
        for _ in 0..2 {
            let raised = event.raise(|p| {
                let at = begun.elapsed().as_micros() as u64;
                p.uint("n", n).uint("who", who).uint("at", at);
            });
            assert_eq!(raised, Raised::Queued);
            n += 1;
        }
        // The rate, not a wait for something.
        std::thread::sleep(Duration::from_millis(1));
    }
    n
}

/// Takes datagrams until one of raiser 2 says how many there were; checks the order of the
/// others, and gives their delays in microseconds.
fn receive_all(receiver: &Unix, begun: Instant) -> Vec<u64> {
    let mut next = [0, 0];
    let mut delays = Vec::new();
    loop {
        let datagram = receiver.next();
        let now = begun.elapsed().as_micros() as u64;
        let (who, n) = (number_of(&datagram, "who") as usize, number(&datagram));
        if who == 2 {
            assert_eq!(n, delays.len() as u64, "datagrams are missing");
            return delays;
        }
        delays.push(now.saturating_sub(number_of(&datagram, "at")));
        assert_eq!(n, next[who], "of raiser {who}");
        next[who] += 1;
    }
}

#[test]
fn receivers_in_trouble_cost_the_others_nothing() {
    // It loses nothing, however long its reader stands still.
    let directory = TempDir::new();
    let well = Unix::at(&directory.file("well.sock"));
    let start = |_| Stream::start(&["--rcvbuf", "4096"]);
    let mut peers: Vec<Stream> = (0..5).map(start).collect();
    let rests = [
        "",
        "/m",
        "?reliable=1",
        "?when_full=newest",
        "/m?reliable=1",
    ];
    let of_peers = peers
        .iter()
        .zip(rests)
        .map(|(peer, rest)| peer.socket(rest));
    let mut sockets: Vec<String> = of_peers.collect();
    sockets.push(well.socket());
    let (host, port) = nowhere();
    sockets.push(format!("tcp:{host}:{port}"));
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    let change = |config: &mut Config| {
        config.lane_events = 1 << 16;
        config.unix_backlog = 1_000_000;
        config.unix_wait = Duration::from_secs(600);
        config.tcp.send_buffer = Some(4096);
        config.tcp.retry_time = Duration::from_millis(100);
        config.tcp.queue_events = 500;
        config.tcp.queue_time = Duration::from_secs(5);
        config.tcp.reply_time = Duration::from_millis(200);
    };
    let (engine, event) = engine_with("E_X", config(change));
    for socket in sockets {
        engine.subscribe("E_X", socket, Expire::Never).unwrap();
    }
    let begun = Instant::now();
    let stop = &AtomicBool::new(false);
    let event = &event;
    std::thread::scope(|scope| {
        let _stop = Stop(stop);
        let receiver = scope.spawn(|| receive_all(&well, begun));
        let raisers =
            [0, 1].map(|who| scope.spawn(move || raise_steadily(event, who, begun, stop)));
        peers[0].signal(Signal::STOP);
        peers[2].tell("reply none");
        peers[4].tell("reply garbage");
        for round in 0..6 {
            peers[1].kill();
            peers[3].tell(if round % 2 == 0 { "pause" } else { "resume" });
            peers[2].tell("reset");
            peers[1] = Stream::again(&peers[1], &[]);
            peers[1].next();
        }
        peers[0].signal(Signal::CONT);
        peers[2].tell("reply ok");
        stop.store(true, Relaxed);
        let count: u64 = raisers.map(|raiser| raiser.join().unwrap()).iter().sum();
        eventually("the lanes to be empty", || {
            engine.stats().fanned_out == count
        });
        event.raise(|p| {
            p.uint("n", count).uint("who", 2);
        });
        let mut delays = receiver.join().unwrap();
        delays.sort_unstable();
        let (p99, most) = (delays[delays.len() * 99 / 100], delays[delays.len() - 1]);
        let stats = settled(&engine);
        assert_eq!(stats.raised, count + 1);
        assert_eq!(stats.matched, 7 * (count + 1));
        println!("{count} events; 99 of 100 within {p99} µs, all within {most} µs: {stats:#?}");
    });
}
