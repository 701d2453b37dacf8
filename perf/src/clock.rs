//! Time: the monotonic clock, which all processes share, and CPU time used.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: comparable between processes.
pub(crate) fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time of all threads of this process, in nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// CPU time the calling thread needs for `act`, in nanoseconds. What other processes take from
/// this machine meanwhile does not count; what the kernel does for the caller does.
pub(crate) fn cpu_of(act: impl FnOnce()) -> f64 {
    let before = thread_cpu_ns();
    act();
    (thread_cpu_ns() - before) as f64
}

/// Waits until `deadline`: asleep at first, the last stretch awake, so as not to be late.
pub(crate) fn wait_until(deadline: Instant) {
    const AWAKE: Duration = Duration::from_micros(150);
    let left = deadline.saturating_duration_since(Instant::now());
    if let Some(sleep) = left.checked_sub(AWAKE).filter(|sleep| !sleep.is_zero()) {
        std::thread::sleep(sleep);
    }
    while Instant::now() < deadline {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward() {
        let (now, cpu) = (now_ns(), process_cpu_ns());
        let spent = cpu_of(|| while now_ns() < now + 2_000_000 {});
        assert!(spent > 0.0 && process_cpu_ns() > cpu);
        let deadline = Instant::now() + Duration::from_millis(1);
        wait_until(deadline);
        assert!(Instant::now() >= deadline);
    }
}
