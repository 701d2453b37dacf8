//! Loading and publishing a snapshot, against the cells it could be made of.
//!
//! The module under test is private, so its source is compiled into this bench.
#![allow(
    missing_docs,
    clippy::disallowed_types,
    reason = "a bench; loom never sees it"
)]

#[path = "../src/snapshot.rs"]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a bench uses a part of it"
)]
mod snapshot;
#[path = "../src/sync.rs"]
#[allow(dead_code, unused_imports, reason = "a bench uses a part of it")]
mod sync;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;

use arc_swap::ArcSwap;
use criterion::{Criterion, criterion_group, criterion_main};

use snapshot::{Retired, Snapshot};

type Table = Vec<u64>;

fn load(criterion: &mut Criterion) {
    let ours = Snapshot::new(Table::new());
    let swap = ArcSwap::from_pointee(Table::new());
    let lock = RwLock::new(Arc::new(Table::new()));
    let mut group = criterion.benchmark_group("snapshot/load");
    group.bench_function("bellwire", |bencher| bencher.iter(|| ours.load()));
    group.bench_function("yardstick: ArcSwap::load", |bencher| {
        bencher.iter(|| black_box(swap.load().len()));
    });
    group.bench_function("yardstick: RwLock<Arc>, cloned", |bencher| {
        bencher.iter(|| Arc::clone(&lock.read().expect("no panic under it")));
    });
}

/// The same while another thread publishes as fast as it can.
fn load_while_published(criterion: &mut Criterion) {
    let cell = Snapshot::new(Table::new());
    let lock = RwLock::new(Arc::new(Table::new()));
    let mut group = criterion.benchmark_group("snapshot/load while published");
    group.bench_function("bellwire", |bencher| {
        let mut retired = Retired::default();
        while_running(
            || {
                cell.publish(Table::new(), &mut retired);
                retired.sweep();
            },
            || bencher.iter(|| cell.load()),
        );
    });
    group.bench_function("yardstick: RwLock<Arc>, cloned", |bencher| {
        while_running(
            || *lock.write().expect("no panic under it") = Arc::new(Table::new()),
            || bencher.iter(|| Arc::clone(&lock.read().expect("no panic under it"))),
        );
    });
}

/// Runs `act` over and over on another thread while `measure` runs on this one.
fn while_running(mut act: impl FnMut() + Send, measure: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                act();
            }
        });
        measure();
        done.store(true, Ordering::Relaxed);
    });
}

fn publish(criterion: &mut Criterion) {
    let ours = Snapshot::new(Table::new());
    let mut retired = Retired::default();
    let swap = ArcSwap::from_pointee(Table::new());
    let lock = RwLock::new(Arc::new(Table::new()));
    let mut group = criterion.benchmark_group("snapshot/publish");
    group.bench_function("bellwire, and sweep", |bencher| {
        bencher.iter(|| {
            ours.publish(Table::new(), &mut retired);
            retired.sweep()
        });
    });
    group.bench_function("yardstick: ArcSwap::store", |bencher| {
        bencher.iter(|| swap.store(Arc::new(Table::new())));
    });
    group.bench_function("yardstick: RwLock<Arc>, replaced", |bencher| {
        bencher.iter(|| *lock.write().expect("no panic under it") = Arc::new(Table::new()));
    });
}

criterion_group!(benches, load, load_while_published, publish);
criterion_main!(benches);
