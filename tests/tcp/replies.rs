//! What a receiver replies, well or badly.

use super::*;

#[test]
fn replies_are_matched_in_any_order() {
    let mut peer = Stream::new();
    peer.tell("reply shuffle 50");
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |_| ());
    raise_all(&event, 0..49);
    let ids: Vec<u64> = peer.take(49).iter().map(|text| id(text)).collect();
    assert!(ids[0] > 0 && ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(only(&engine, "E_X").in_flight, 49);
    raise(&event, 49);
    peer.next();
    assert_eq!(settled(&engine).delivered, 50);
}

#[test]
fn an_error_is_a_rejection_and_silence_is_none() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_secs(2);
    });
    peer.tell("reply error");
    raise_all(&event, 0..3);
    peer.take(3);
    assert_eq!(settled(&engine).dropped.of(Reason::Rejected), 3);
    peer.tell("reply none");
    let begun = Instant::now();
    raise_all(&event, 3..5);
    peer.take(2);
    assert_eq!(settled(&engine).dropped.of(Reason::Unanswered), 2);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    // Replies that come too late are passed over.
    peer.tell("release");
    peer.tell("reply ok");
    raise(&event, 5);
    peer.next();
    let stats = settled(&engine);
    assert_eq!((stats.delivered, stats.dropped.total()), (1, 5));
    assert_eq!(peer.opened, 1);
}

#[test]
fn what_was_not_answered_comes_again_with_the_same_id_and_in_order() {
    let mut peer = Stream::new();
    peer.tell("reply none");
    let (engine, event) = heard_by(&[&peer.socket("/m?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_secs(10);
        tcp.retry_time = Duration::from_millis(50);
    });
    raise_all(&event, 0..20);
    let first = peer.take(20);
    peer.kill();
    raise_all(&event, 20..30);
    let mut peer = Stream::again(&peer, &[]);
    let again = peer.take(30);
    assert_eq!(again[..20], first);
    let numbers: Vec<u64> = again.iter().map(|text| number(text.as_bytes())).collect();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    let ids: Vec<u64> = again.iter().map(|text| id(text)).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(settled(&engine).delivered, 30);
    assert_eq!(peer.waiting(), Vec::<String>::new());
}

#[test]
fn ten_thousand_malformed_replies_do_no_harm() {
    let mut peer = Stream::new();
    let (engine, event) = heard_by(&[&peer.socket("?reliable=1")], |tcp| {
        tcp.reply_time = Duration::from_secs(2);
    });
    peer.tell("reply garbage");
    for n in 0..4 {
        raise_all(&event, n * 2500..(n + 1) * 2500);
        peer.take(2500);
        settled(&engine);
    }
    assert_eq!(engine.stats().dropped.of(Reason::Unanswered), 10_000);
    peer.tell("garbage 10000");
    peer.tell("reply half");
    raise_all(&event, 0..100);
    peer.take(100);
    settled(&engine);
    peer.tell("reply ok");
    raise_all(&event, 0..100);
    peer.take(100);
    let stats = settled(&engine);
    assert_eq!((stats.delivered, peer.opened), (100, 1));
    assert_eq!(stats.dropped.of(Reason::Unanswered), 10_100);
}
