//! Runs of many seeds.

use std::panic::catch_unwind;
use std::sync::Mutex;

use super::faults::FAULTS;
use super::run::{Report, run};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Seeds that a plain test runs.
const SEEDS: u64 = 1000;

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// Runs the seeds on two threads; what each came to goes to `look`.
fn run_all(seeds: std::ops::Range<u64>, look: impl Fn(u64, Report) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while failed.lock().expect("no panic under it").is_empty() {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            match catch_unwind(|| run(seed, false)) {
                Ok(report) => look(seed, report),
                Err(_) => failed.lock().expect("no panic under it").push(seed),
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failed = failed.into_inner().expect("no panic under it");
    assert!(
        failed.is_empty(),
        "failed: replay with BELLWIRE_SEED={}",
        failed[0]
    );
}

/// Every invariant holds at every step of every seed, and the seeds see all that can go wrong.
#[test]
fn no_fault_breaks_an_invariant() {
    if let Some(seed) = told("BELLWIRE_SEED") {
        println!("{:?}", run(seed, true));
        return;
    }
    let start = told("BELLWIRE_SEEDS_FROM").unwrap_or(0);
    let count = told("BELLWIRE_SEEDS").unwrap_or(SEEDS);
    let begun = std::time::Instant::now();
    let done = AtomicU64::new(0);
    let sum = Mutex::new([0; FAULTS.len()]);
    run_all(start..start + count, |_, report| {
        let mut sum = sum.lock().expect("no panic under it");
        sum.iter_mut()
            .zip(report.struck)
            .for_each(|(sum, struck)| *sum += struck);
        let done = done.fetch_add(1, Relaxed) + 1;
        if done.is_multiple_of(10_000) {
            println!("{done} seeds in {} s", begun.elapsed().as_secs());
        }
    });
    let sum = sum.into_inner().expect("no panic under it");
    let never: Vec<_> = FAULTS
        .iter()
        .zip(sum)
        .filter(|&(_, struck)| struck == 0)
        .collect();
    assert!(
        count < SEEDS || never.is_empty(),
        "these never struck: {never:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    run_all(0..50, |seed, report| {
        assert_eq!(report, run(seed, false), "seed {seed}")
    });
}

#[test]
fn different_seeds_give_different_traces() {
    assert_ne!(run(1, false).hash, run(2, false).hash);
}
