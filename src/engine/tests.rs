//! The raise path and the core by hand, one turn at a time.

use std::sync::Arc;

use super::still::Void;
use super::{Config, Event, Raised, Still, control};
use crate::limits::{PAYLOAD_BYTES, UDP_PAYLOAD_BYTES};
use crate::os::Answer;
use crate::registry::Expire;
use crate::stats::{Outcome, Reason, Stats};
use crate::testing::wait_for;
use crate::transport::route::Occurrence;
use crate::transport::worker::Report;

const UDP: &str = "udp:127.0.0.1:9";

/// An engine whose lanes hold two events.
fn still() -> (Still, Event) {
    let config = Config {
        lane_events: 2,
        ..Config::default()
    };
    let still = Still::new(config);
    let event = still.handle.declare("E").unwrap();
    (still, event)
}

fn heard() -> (Still, Event) {
    let (still, event) = still();
    subscribe(&still, UDP);
    (still, event)
}

fn subscribe(still: &Still, socket: &str) {
    let subscribed = still.handle.subscribe("E", socket, Expire::Never);
    subscribed.unwrap();
}

fn unsubscribe(still: &Still, socket: &str) {
    assert!(still.handle.unsubscribe("E", socket).unwrap());
}

fn raise(event: &Event) -> Raised {
    event.raise(|_| {})
}

#[test]
fn what_nobody_hears_is_not_even_counted() {
    let (still, event) = still();
    assert!(!event.has_subscribers());
    assert_eq!(raise(&event), Raised::Unheard);
    assert_eq!(event.raise_payload(b"{}"), Raised::Unheard);
    assert_eq!(still.handle.stats(), Stats::default());
    subscribe(&still, UDP);
    assert!(event.has_subscribers());
    unsubscribe(&still, UDP);
    assert_eq!(raise(&event), Raised::Unheard);
}

#[test]
fn a_lane_has_room_until_it_is_full() {
    let (mut still, event) = heard();
    for _ in 0..2 {
        assert!(still.handle.lane_has_room());
        assert_eq!(raise(&event), Raised::Queued);
    }
    assert!(!still.handle.lane_has_room());
    assert_eq!(raise(&event), Raised::Dropped(Reason::LaneFull));
    still.settle();
    assert!(still.handle.lane_has_room());
    let stats = still.handle.stats();
    assert_eq!((stats.raised, stats.fanned_out), (3, 2));
    assert_eq!(stats.dropped_before.of(Reason::LaneFull), 1);
}

#[test]
fn the_largest_payload_passes() {
    let (mut still, event) = heard();
    let payload = vec![b'x'; PAYLOAD_BYTES + 1];
    assert_eq!(event.raise_payload(&payload[1..]), Raised::Queued);
    let too_big = Raised::Dropped(Reason::TooBig);
    assert_eq!(event.raise_payload(&payload), too_big);
    still.settle();
    assert_eq!(still.handle.stats().fanned_out, 1);
}

#[test]
fn nobody_sleeps_while_there_is_something_to_do() {
    let (mut still, event) = heard();
    assert!(still.core.is_idle());
    raise(&event);
    assert!(!still.core.is_idle(), "an event");
    still.settle();
    let shared = Arc::clone(&still.handle.shared);
    shared.answers.push(Answer {
        destination: 0,
        host: "h".into(),
        port: 1,
        addresses: Err("no".to_owned()),
    });
    assert!(!still.core.is_idle(), "an answer");
    still.settle();
    shared.reports.push(Report {
        destination: 0,
        sequence: 0,
        count: 1,
        outcome: Outcome::Delivered,
    });
    assert!(!still.core.is_idle(), "a report");
    still.settle();
    unsubscribe(&still, UDP);
    assert!(!still.core.is_idle(), "a subscription that ended");
    still.settle();
    assert!(still.core.is_idle());
    shared.parker.refuse();
    assert!(!still.core.is_idle(), "a shutdown");
}

#[test]
fn what_ended_is_closed_and_its_number_used_again() {
    let (mut still, event) = still();
    for round in 0..5 {
        let socket = format!("unix:/{round}");
        subscribe(&still, &socket);
        raise(&event);
        still.settle();
        assert_eq!(still.core.open(), [0]);
        unsubscribe(&still, &socket);
        still.settle();
        assert_eq!(still.core.open(), [0; 0]);
    }
}

#[test]
fn a_destination_stays_open_until_the_last_subscription_ended() {
    let (mut still, event) = still();
    let other = still.handle.declare("E_OTHER").unwrap();
    let subscribed = still.handle.subscribe("E_OTHER", "unix:/a", Expire::Never);
    subscribed.unwrap();
    subscribe(&still, "unix:/a");
    raise(&event);
    raise(&other);
    still.settle();
    unsubscribe(&still, "unix:/a");
    still.settle();
    assert_eq!(still.core.open(), [0]);
    assert!(still.handle.unsubscribe("E_OTHER", "unix:/a").unwrap());
    still.settle();
    assert_eq!(still.core.open(), [0; 0]);
}

#[test]
fn places_are_used_again() {
    let (mut still, event) = still();
    for port in 1..2000 {
        let socket = format!("udp:127.0.0.1:{port}");
        subscribe(&still, &socket);
        unsubscribe(&still, &socket);
        still.settle();
    }
    assert_eq!(event.cell().table.load().chunks().count(), 1);
}

#[test]
fn events_declared_later_are_fanned_out() {
    let (mut still, event) = heard();
    raise(&event);
    still.settle();
    let later = still.handle.declare("E_LATER").unwrap();
    let subscribed = still.handle.subscribe("E_LATER", UDP, Expire::Never);
    subscribed.unwrap();
    raise(&later);
    raise(&event);
    still.settle();
    assert_eq!(still.handle.stats().delivered, 3);
}

#[test]
fn a_thread_lets_go_of_engines_that_closed() {
    let (still, event) = heard();
    raise(&event);
    let gone = Arc::downgrade(&still.handle.shared);
    drop((still, event));
    assert!(
        gone.strong_count() > 0,
        "this thread's lane is the engine's"
    );
    let (_still, event) = heard();
    raise(&event);
    assert_eq!(gone.strong_count(), 0);
}

#[test]
fn what_was_delivered_before_the_end_counts_as_delivered() {
    let (mut still, event) = still();
    still.handle.route("handler", |_| {}).unwrap();
    subscribe(&still, "route:handler");
    raise(&event);
    still.settle();
    let shared = Arc::clone(&still.handle.shared);
    wait_for(|| (!shared.reports.is_empty()).then_some(()));
    still.core.close(shared.clock.now(), &Void);
    let stats = still.handle.stats();
    assert_eq!((stats.matched, stats.delivered), (1, 1));
}

#[test]
fn what_waits_for_a_member_at_the_end_is_counted() {
    let (mut still, event) = still();
    let go = Arc::new(std::sync::Barrier::new(2));
    let gone = Arc::clone(&go);
    let handler = move |_: &Occurrence| {
        gone.wait();
    };
    still.handle.route("handler", handler).unwrap();
    subscribe(&still, "virtual:FAILOVER route:handler udp:127.0.0.1:9");
    raise(&event);
    still.settle();
    assert_eq!(still.handle.stats().in_flight, 1);
    still.core.close(still.handle.shared.clock.now(), &Void);
    let stats = still.handle.stats();
    assert_eq!(
        (stats.in_flight, stats.dropped.of(Reason::Shutdown)),
        (0, 1)
    );
    go.wait();
}

#[test]
fn an_event_too_big_for_one_member_goes_to_the_next_and_says_nothing_about_the_first() {
    let (mut still, event) = still();
    still.handle.route("handler", |_| {}).unwrap();
    subscribe(&still, "virtual:FAILOVER udp:127.0.0.1:9 route:handler");
    let half = "x".repeat(UDP_PAYLOAD_BYTES / 2);
    let raised = event.raise(|p| {
        p.str("one", &half).str("other", &half);
    });
    assert_eq!(raised, Raised::Queued);
    still.settle();
    let shared = Arc::clone(&still.handle.shared);
    wait_for(|| (!shared.reports.is_empty()).then_some(()));
    raise(&event);
    still.settle();
    let listed = still.handle.subscriptions(Some("E")).remove(0);
    let [first, next] = &listed.members[..] else {
        panic!("two members");
    };
    assert_eq!(
        (first.tried, first.delivered, first.held_secs),
        (2, 1, None)
    );
    assert_eq!((next.tried, next.delivered), (1, 1));
    assert_eq!((listed.matched, listed.delivered), (2, 2));
}

#[test]
fn the_control_thread_frees_replaced_tables() {
    let (still, event) = heard();
    let read = event.cell().table.load();
    subscribe(&still, "udp:127.0.0.1:10");
    let freed = Arc::downgrade(&read);
    drop(read);
    assert_eq!(freed.strong_count(), 1);
    control::turn(&still.handle.shared);
    assert_eq!(freed.strong_count(), 0);
}
