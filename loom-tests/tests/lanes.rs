//! The lanes: registered, filled, drained and given up while the consumer runs.
#![cfg(loom)]

use std::sync::Arc;

use bellwire::internals::{Consumer, Lanes};
use bellwire_loom_tests::{model, spawn};
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const DRAIN: usize = 2;

/// Takes what is there.
fn drain(consumer: &mut Consumer<u32>, lanes: &Lanes<u32>, items: &mut Vec<u32>) {
    while consumer.drain(lanes, DRAIN, |item| items.push(item)) > 0 {}
}

#[test]
fn what_is_pushed_is_drained_once_and_in_order() {
    model(|| {
        let lanes = Arc::new(Lanes::new(1));
        let theirs = Arc::clone(&lanes);
        let producer = spawn(move || {
            let lane = theirs.register();
            (0..2)
                .filter(|&item| lane.push(item).is_ok())
                .collect::<Vec<u32>>()
        });
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        drain(&mut consumer, &lanes, &mut items);
        let pushed = producer.join().expect("a producer ends well");
        drain(&mut consumer, &lanes, &mut items);
        assert_eq!(items, pushed);
        assert!(consumer.is_idle(&lanes));
        assert_eq!(lanes.waiting(), 0);
    });
}

#[test]
fn lanes_come_and_go_beside_each_other() {
    model(|| {
        let lanes = Arc::new(Lanes::new(1));
        let lane = lanes.register();
        let theirs = Arc::clone(&lanes);
        let ending = spawn(move || {
            theirs.register().push(1).expect("the lane is empty");
        });
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        drain(&mut consumer, &lanes, &mut items);
        ending.join().expect("a producer ends well");
        // That lane is let go now, and may not take this one with it.
        drain(&mut consumer, &lanes, &mut items);
        lane.push(2).expect("the lane is empty");
        let late = lanes.register();
        late.push(3).expect("the lane is empty");
        drain(&mut consumer, &lanes, &mut items);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3]);
    });
}

#[test]
fn an_ended_lane_is_emptied_before_it_is_let_go() {
    model(|| {
        let lanes = Arc::new(Lanes::new(1));
        let lane = lanes.register();
        let producer = spawn(move || lane.push(1).expect("the lane is empty"));
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        drain(&mut consumer, &lanes, &mut items);
        producer.join().expect("a producer ends well");
        drain(&mut consumer, &lanes, &mut items);
        assert_eq!(items, [1]);
    });
}

#[test]
fn a_lane_taken_over_is_kept_and_goes_on() {
    model(|| {
        let lanes = Arc::new(Lanes::new(3));
        let lane = lanes.register();
        let theirs = Arc::clone(&lanes);
        let heir = spawn(move || {
            let lane = theirs.register();
            lane.push(3).expect("any lane has room");
            lane
        });
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        lane.push(1).expect("the lane is empty");
        lane.push(2).expect("the lane has room");
        drop(lane);
        drain(&mut consumer, &lanes, &mut items);
        let lane = heir.join().expect("the heir ends well");
        lane.push(4).expect("any lane has room");
        drain(&mut consumer, &lanes, &mut items);
        // In order, if all went through the one lane; otherwise each lane for itself.
        let own: Vec<u32> = items.iter().copied().filter(|&item| item < 3).collect();
        let heirs: Vec<u32> = items.iter().copied().filter(|&item| item > 2).collect();
        assert_eq!((own, heirs), (vec![1, 2], vec![3, 4]));
    });
}

#[test]
fn an_heir_that_ended_too_leaves_nothing_behind() {
    model(|| {
        let lanes = Arc::new(Lanes::new(1));
        drop(lanes.register());
        let theirs = Arc::clone(&lanes);
        let heir = spawn(move || theirs.register().push(1).expect("any lane has room"));
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        drain(&mut consumer, &lanes, &mut items);
        heir.join().expect("the heir ends well");
        drain(&mut consumer, &lanes, &mut items);
        assert_eq!(items, [1]);
    });
}

#[test]
fn an_item_brings_what_its_producer_knew() {
    model(|| {
        let lanes = Arc::new(Lanes::new(1));
        let known = Arc::new(AtomicUsize::new(0));
        let lane = lanes.register();
        let theirs = Arc::clone(&known);
        spawn(move || {
            theirs.store(1, Relaxed);
            lane.push(1).expect("the lane is empty");
        });
        let mut consumer = Consumer::default();
        consumer.drain(&lanes, DRAIN, |_| assert_eq!(known.load(Relaxed), 1));
    });
}

#[test]
fn an_item_is_taken_by_the_consumer_or_taken_back() {
    model(|| {
        let lanes = Arc::new(Lanes::new(2));
        let lane = lanes.register();
        let producer = spawn(move || {
            lane.push(1).expect("the lane is empty");
            lane.push(2).expect("one more has room");
            std::iter::from_fn(|| lane.reclaim()).collect::<Vec<u32>>()
        });
        let (mut consumer, mut items) = (Consumer::default(), Vec::new());
        drain(&mut consumer, &lanes, &mut items);
        items.extend(producer.join().expect("a producer ends well"));
        items.sort_unstable();
        assert_eq!(items, [1, 2]);
    });
}
