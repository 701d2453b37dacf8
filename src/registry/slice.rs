//! Slices of time: subscriptions end when one begins, so that those of one slice end together.

use super::Expire;

/// Length of a slice, in milliseconds of the engine's clock.
pub(super) const SLICE_MS: u64 = 250;

/// The slice of a subscription that never ends.
pub(super) const NEVER: u32 = u32::MAX;
/// The last slice there is: 34 years after the start.
pub(super) const LAST: u32 = NEVER - 1;

/// The slice in which a subscription made now ends, and its lifetime in seconds.
pub(super) fn lifetime(now_ms: u64, expire: Expire) -> (u32, u32) {
    match expire {
        Expire::AfterSecs(secs) => {
            let end = (now_ms + u64::from(secs) * 1000).div_ceil(SLICE_MS);
            (u32::try_from(end).unwrap_or(LAST).min(LAST), secs)
        }
        Expire::Never => (NEVER, 0),
    }
}

/// The slice that holds that time.
pub(super) fn started_by(now_ms: u64) -> u32 {
    u32::try_from(now_ms / SLICE_MS).unwrap_or(LAST)
}

/// Milliseconds left until the slice begins.
pub(super) fn left_ms(slice: u32, now_ms: u64) -> u64 {
    (u64::from(slice) * SLICE_MS).saturating_sub(now_ms)
}
