//! Pushing to a lane and draining it, against the queues it could be.
//!
//! The module under test is private, so its source is compiled into this bench.
#![allow(missing_docs, reason = "a bench")]

#[path = "../src/lane.rs"]
#[allow(dead_code, unreachable_pub, reason = "a bench uses a part of it")]
mod lane;
#[path = "../src/sync.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod sync;

use std::hint::black_box;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel;
use crossbeam::queue::ArrayQueue;

use lane::{Consumer, Lanes};

/// Items pushed before they are drained.
const BATCH: usize = 64;
const CAPACITY: usize = 4096;

type Item = (u32, Bytes);

fn item() -> Item {
    (7, Bytes::from_static(b"payload"))
}

/// Both ends on one thread.
fn push_and_drain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane/push and drain 64");
    group.throughput(Throughput::Elements(BATCH as u64));
    let lanes = Lanes::new(CAPACITY);
    let producer = lanes.register();
    let mut consumer = Consumer::default();
    group.bench_function("bellwire", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                assert!(producer.push(item()).is_ok());
            }
            consumer.drain(&lanes, BATCH, |item: Item| drop(black_box(item)))
        });
    });
    let queue = ArrayQueue::new(CAPACITY);
    group.bench_function("yardstick: ArrayQueue", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                assert!(queue.push(item()).is_ok());
            }
            while let Some(item) = queue.pop() {
                drop(black_box(item));
            }
        });
    });
    let (sender, receiver) = channel::bounded(CAPACITY);
    group.bench_function("yardstick: crossbeam channel", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                assert!(sender.try_send(item()).is_ok());
            }
            for item in receiver.try_iter() {
                drop(black_box(item));
            }
        });
    });
}

/// How long `producers` threads take to push `count` items each while this one drains them.
fn race<P: Send>(
    count: u64,
    producers: Vec<P>,
    push: impl Fn(&P, Item) -> bool + Sync,
    mut drain: impl FnMut() -> usize,
) -> Duration {
    let total = count as usize * producers.len();
    let start = Instant::now();
    thread::scope(|scope| {
        for producer in producers {
            let push = &push;
            scope.spawn(move || {
                for _ in 0..count {
                    while !push(&producer, item()) {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut drained = 0;
        while drained < total {
            match drain() {
                0 => thread::yield_now(),
                some => drained += some,
            }
        }
    });
    start.elapsed()
}

/// Two producers and a consumer, each on a thread of its own.
fn two_producers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane/two producers");
    group.bench_function("bellwire", |bencher| {
        bencher.iter_custom(|count| {
            let lanes = Lanes::new(CAPACITY);
            let producers = vec![lanes.register(), lanes.register()];
            let mut consumer = Consumer::default();
            race(
                count,
                producers,
                |producer, item| producer.push(item).is_ok(),
                || consumer.drain(&lanes, BATCH, |item: Item| drop(black_box(item))),
            )
        });
    });
    group.bench_function("yardstick: one ArrayQueue", |bencher| {
        bencher.iter_custom(|count| {
            let queue = ArrayQueue::new(CAPACITY);
            race(
                count,
                vec![&queue, &queue],
                |queue, item| queue.push(item).is_ok(),
                || usize::from(queue.pop().is_some()),
            )
        });
    });
    group.bench_function("yardstick: Mutex<Vec>", |bencher| {
        bencher.iter_custom(|count| {
            let queue = Mutex::new(Vec::with_capacity(CAPACITY));
            race(
                count,
                vec![&queue, &queue],
                |queue, item| {
                    let mut queue = queue.lock().expect("no panic under it");
                    let room = queue.len() < CAPACITY;
                    if room {
                        queue.push(item);
                    }
                    room
                },
                || std::mem::take(&mut *queue.lock().expect("no panic under it")).len(),
            )
        });
    });
}

criterion_group!(benches, push_and_drain, two_producers);
criterion_main!(benches);
