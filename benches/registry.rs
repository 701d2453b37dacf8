//! One change of the subscriptions, among 100 to 1,000,000 of them.
#![allow(missing_docs, reason = "a bench")]

mod rig;

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bellwire::Expire;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use rig::{NAME, Rig, socket};

fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry/subscribe and unsubscribe");
    for subscriptions in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let rig = Rig::new(subscriptions);
        let newcomer = rig.socket(subscriptions);
        group.bench_function(BenchmarkId::new("bellwire", subscriptions), |bencher| {
            bencher.iter(|| {
                rig.engine
                    .subscribe(NAME, &newcomer, Expire::after_secs(3600))
                    .expect("a valid subscription");
                rig.engine.unsubscribe(NAME, &newcomer)
            });
        });
        let mut map = filled(subscriptions).0;
        let address: SocketAddr = "127.200.0.1:1".parse().expect("an address");
        let yardstick = BenchmarkId::new("yardstick: HashMap insert and remove", subscriptions);
        group.bench_function(yardstick, |bencher| {
            bencher.iter(|| {
                map.insert(black_box(address), 0);
                map.remove(&address)
            });
        });
    }
}

fn filled(count: usize) -> (HashMap<SocketAddr, usize>, Vec<SocketAddr>) {
    let (mut map, mut list) = (HashMap::new(), Vec::new());
    for number in 0..count {
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number as u32);
        let address = SocketAddr::from((ip, 5060));
        map.insert(address, list.len());
        list.push(address);
    }
    (map, list)
}

fn batch(criterion: &mut Criterion) {
    const COUNT: usize = 100_000;
    let mut group = criterion.benchmark_group("registry/100,000 in one batch");
    group.throughput(Throughput::Elements(COUNT as u64));
    group.sample_size(10);
    let sockets: Vec<String> = (0..COUNT).map(|number| socket(number, 5060)).collect();
    group.bench_function("bellwire", |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    let rig = Rig::new(0);
                    let batch = sockets
                        .iter()
                        .map(|socket| (NAME, socket.as_str(), Expire::after_secs(3600)));
                    let start = Instant::now();
                    let results = rig.engine.subscribe_all(batch);
                    let spent = start.elapsed();
                    assert!(results.iter().all(Result::is_ok));
                    spent
                })
                .sum::<Duration>()
        });
    });
    group.bench_function("yardstick: HashMap and Vec", |bencher| {
        bencher.iter_batched(|| (), |()| filled(COUNT), BatchSize::PerIteration);
    });
}

criterion_group!(benches, change, batch);
criterion_main!(benches);
