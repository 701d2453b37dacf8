//! What a raise costs its caller: unheard, heard, by subscribers, by parameters; each beside its
//! yardstick.
#![allow(
    missing_docs,
    clippy::disallowed_types,
    reason = "a bench; loom never sees it"
)]

mod rig;

use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bellwire::{Params, Raised};
use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use crossbeam::queue::ArrayQueue;

use rig::{NAME, Rig, notification, three};

/// Raises between two looks whether the reactor is done: well below the lane.
const BURST: u64 = 1024;

fn unheard(criterion: &mut Criterion) {
    let rig = Rig::new(0);
    let gate = AtomicU32::new(0);
    let mut group = criterion.benchmark_group("raise/unheard");
    group.bench_function("bellwire", |bencher| {
        bencher.iter(|| assert_eq!(rig.event.raise(three), Raised::Unheard));
    });
    group.bench_function("yardstick: relaxed load and branch", |bencher| {
        bencher.iter(|| assert_eq!(black_box(&gate).load(Ordering::Relaxed), 0));
    });
}

/// Times bursts of the yardstick that design says a raise is made of.
fn snapshot_json_queue(count: u64) -> Duration {
    let snapshot = ArcSwap::from_pointee(vec![0_u8; 32]);
    let queue = ArrayQueue::<(u32, Bytes)>::new(4096);
    let mut block = BytesMut::with_capacity(1 << 20);
    let mut buffer = Vec::with_capacity(1024);
    let (mut spent, mut left) = (Duration::ZERO, count);
    block.extend_from_slice(b"x");
    let payload = block.split().freeze();
    while left > 0 {
        let now = left.min(BURST);
        let start = Instant::now();
        for _ in 0..now {
            let table = snapshot.load();
            buffer.clear();
            serde_json::to_writer(&mut buffer, &notification()).expect("memory does not fail");
            black_box(&buffer);
            let pushed = queue.push((table.len() as u32, payload.clone()));
            assert!(pushed.is_ok());
        }
        spent += start.elapsed();
        left -= now;
        while queue.pop().is_some() {}
    }
    spent
}

fn heard(criterion: &mut Criterion) {
    let rig = Rig::new(1);
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    let address = receiver.local_addr().expect("its address");
    sender.connect(address).expect("a local peer");
    let payload = serde_json::to_vec(&notification()).expect("memory does not fail");
    let mut group = criterion.benchmark_group("raise/heard");
    group.bench_function("bellwire", |bencher| {
        bencher.iter_custom(|count| rig.time(count, BURST, |event| event.raise(three)));
    });
    group.bench_function(
        "yardstick: snapshot load + serde_json + queue push",
        |bencher| {
            bencher.iter_custom(snapshot_json_queue);
        },
    );
    group.bench_function("yardstick: one send", |bencher| {
        bencher.iter(|| sender.send(&payload).expect("a bound peer"));
    });
}

/// The reactor is kept busy by another event meanwhile, so that the bursts meet the same lane
/// whatever the number of subscribers; they are taken back before they are sent.
fn by_subscribers(criterion: &mut Criterion) {
    const PLUG: &str = "E_PLUG";
    let mut group = criterion.benchmark_group("raise/subscribers");
    for subscribers in [1, 64, 10_000] {
        let rig = Rig::new(0);
        let plug = rig.engine.declare(PLUG).expect("a valid name");
        rig.subscribe(PLUG, 0..20_000);
        let sockets: Vec<String> = (0..subscribers).map(|number| rig.socket(number)).collect();
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter_custom(|count| {
                let (mut spent, mut left) = (Duration::ZERO, count);
                while left > 0 {
                    rig.subscribe(NAME, 0..subscribers);
                    plug.raise(three);
                    while rig.engine.stats().in_lanes > 0 {}
                    let now = left.min(BURST);
                    let start = Instant::now();
                    for _ in 0..now {
                        assert_eq!(rig.event.raise(three), Raised::Queued);
                    }
                    spent += start.elapsed();
                    left -= now;
                    for socket in &sockets {
                        rig.engine
                            .unsubscribe(NAME, socket)
                            .expect("a valid socket");
                    }
                    rig.settle();
                }
                spent
            });
        });
    }
}

fn by_parameters(criterion: &mut Criterion) {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let rig = Rig::new(1);
    let mut group = criterion.benchmark_group("raise/parameters");
    for count in [0, 1, 3, 10] {
        let write = |params: &mut Params<'_>| {
            for name in &NAMES[..count] {
                params.str(name, "192.168.2.11");
            }
        };
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|count| rig.time(count, BURST, |event| event.raise(write)));
        });
    }
    let mut block = Arc::new(Vec::with_capacity(1024));
    group.bench_function("yardstick: copy of 363 bytes", |bencher| {
        let source = [b'x'; 363];
        bencher.iter(|| {
            let block = Arc::make_mut(&mut block);
            block.clear();
            block.extend_from_slice(black_box(&source));
        });
    });
}

criterion_group!(benches, unheard, heard, by_subscribers, by_parameters);
criterion_main!(benches);
