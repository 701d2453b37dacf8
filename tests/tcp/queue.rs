//! What waits, and what is cut.

use super::*;

#[test]
fn events_wait_for_a_receiver_that_is_not_there_yet() {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
    });
    raise_all(&event, 0..100);
    eventually("the receiver to be down", || is_down(&engine));
    let State::Down { error, .. } = only_state(&engine) else {
        panic!()
    };
    assert!(error.contains("refused"), "{error}");
    eventually("all to wait", || only(&engine, "E_X").in_flight == 100);
    let mut peer = Stream::at(&host, port, &[]);
    assert_eq!(peer.numbers(100), (0..100).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 100);
    assert_eq!(only_state(&engine), State::Up);
}

/// What is dropped when nobody can be reached: the oldest, or the newest.
fn overflow(rest: &str, change: impl FnOnce(&mut Tcp)) -> (Vec<u64>, Drops) {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}{rest}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.retry_time = Duration::from_millis(50);
        change(tcp);
    });
    raise_all(&event, 0..20);
    eventually("all to be fanned out", || engine.stats().fanned_out == 20);
    let waiting = only(&engine, "E_X").in_flight as usize;
    let mut peer = Stream::at(&host, port, &[]);
    let numbers = peer.numbers(waiting);
    let stats = settled(&engine);
    assert_eq!(stats.delivered + stats.dropped.total(), 20);
    assert_eq!(stats.dropped.of(Reason::QueueFull), stats.dropped.total());
    (numbers, stats.dropped)
}

#[test]
fn a_full_queue_gives_up_the_oldest_or_the_newest() {
    let (numbers, _) = overflow("", |tcp| tcp.queue_events = 5);
    assert_eq!(numbers, [15, 16, 17, 18, 19]);
    let (numbers, _) = overflow("?when_full=newest", |tcp| tcp.queue_events = 5);
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let (numbers, _) = overflow("", |tcp| {
        tcp.queue_events = 5;
        tcp.when_full = WhenFull::DropNewest;
    });
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let size = r#"{"jsonrpc":"2.0","method":"E_X","params":{"n":10}}"#.len();
    let (numbers, _) = overflow("", |tcp| tcp.queue_bytes = 3 * size);
    assert_eq!(numbers, [17, 18, 19]);
}

#[test]
fn what_waited_too_long_is_dropped() {
    let (host, port) = nowhere();
    let socket = format!("tcp:{host}:{port}");
    let (engine, event) = heard_by(&[&socket], |tcp| {
        tcp.queue_time = Duration::from_millis(300);
    });
    let begun = Instant::now();
    raise_all(&event, 0..10);
    assert_eq!(settled(&engine).dropped.of(Reason::Expired), 10);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_message_larger_than_all_buffers_arrives_whole() {
    let (mut peer, engine, _) = stuffed("", 20, 100_000);
    assert!(only(&engine, "E_X").in_flight >= 19);
    peer.tell("resume");
    assert_eq!(peer.numbers(20), (0..20).collect::<Vec<_>>());
    assert_eq!(settled(&engine).delivered, 20);
    assert!(peer.bad.is_empty() && peer.opened == 1);
    assert_eq!(only_state(&engine), State::Up);
}

#[test]
fn a_message_that_was_cut_comes_again_as_a_whole() {
    for rest in ["", "?reliable=1"] {
        let (mut peer, engine, _) = stuffed(rest, 20, 100_000);
        peer.tell("sip 2000");
        peer.tell("reset");
        let (_, cut) = peer.closed.pop().unwrap();
        assert_eq!(cut.len(), 2000, "the receiver has the beginning of a text");
        peer.tell("resume");
        let texts: Vec<_> = (0..20).map(|_| peer.next_of()).collect();
        assert!(texts[0].1.starts_with(&cut[..20]));
        assert!(texts.iter().all(|(connection, _)| *connection == 2));
        let numbers: Vec<u64> = texts
            .iter()
            .map(|(_, text)| number(text.as_bytes()))
            .collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(settled(&engine).delivered, 20);
        assert!(peer.bad.is_empty());
    }
}

#[test]
fn a_message_that_was_begun_is_ended_when_its_subscription_ends() {
    let (mut peer, engine, _) = stuffed("", 3, 100_000);
    assert!(engine.unsubscribe("E_X", &peer.socket("")).unwrap());
    let stats = settled(&engine);
    assert_eq!(stats.dropped.of(Reason::Expired), 3);
    peer.tell("resume");
    assert_eq!(peer.numbers(1), [0]);
    peer.until("the end", |peer| !peer.closed.is_empty());
    assert_eq!(peer.closed, [(1, String::new())], "and nothing else came");
    assert_eq!(peer.waiting(), Vec::<String>::new());
}
