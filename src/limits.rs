//! Every maximum in one place, related to each other by assertions that the compiler checks.

use std::time::Duration;

/// Whether this build is for loom, which wants its maxima small.
const MODEL: bool = cfg!(all(loom, feature = "loom"));

/// Longest event name, in bytes (OpenSIPS `MAX_EVENT_NAME`).
pub const EVENT_NAME_BYTES: usize = 64;
/// Most events one engine can know.
pub const EVENTS: usize = 4096;
/// Longest payload, in bytes, before the transport's own limit is asked.
pub const PAYLOAD_BYTES: usize = 256 * 1024;
/// Longest UDP datagram over IPv4, in bytes (RFC 768: 65,535 less the IP and UDP headers).
pub const UDP_PAYLOAD_BYTES: usize = 65_507;
/// Longest path of a UNIX socket, in bytes (`sun_path` less its NUL).
pub const UNIX_PATH_BYTES: usize = 107;
/// Longest socket string accepted, in bytes.
pub const SOCKET_STRING_BYTES: usize = 4096;
/// Most subscriptions one engine holds, unless the configuration says less.
pub const SUBSCRIPTIONS: usize = 4_000_000;
/// Events that one raising thread can have waiting for the reactor.
pub const LANE_EVENTS: usize = 4096;
/// Bytes of one block of a raising thread's arena.
pub const ARENA_BLOCK_BYTES: usize = if MODEL { 64 } else { 64 * 1024 };
/// Subscriptions in one chunk of a subscriber table: what one change copies.
pub const CHUNK_SUBSCRIPTIONS: usize = if MODEL { 2 } else { 256 };
/// Events the reactor takes from one lane before it looks at the next.
pub const DRAIN_EVENTS: usize = 64;
/// Datagrams handed to the kernel in one `sendmmsg`.
pub const SEND_BATCH: usize = 64;
/// Lifetime of a subscription that names none, in seconds (OpenSIPS `DEFAULT_EXPIRE`).
pub const DEFAULT_EXPIRE_SECS: u32 = 3600;
/// Longest management request, in bytes (one more than OpenSIPS's 65,457 would be cut there).
pub const MI_REQUEST_BYTES: usize = 64 * 1024;
/// Longest name lookup.
pub const RESOLVE_TIME: Duration = Duration::from_secs(2);
/// Deepest nesting of a JSON text taken from outside.
pub const JSON_DEPTH: usize = 16;

const _: () = assert!(LANE_EVENTS.is_power_of_two());
const _: () = assert!(
    CHUNK_SUBSCRIPTIONS <= u8::MAX as usize + 1,
    "a place in a chunk is a u8"
);
const _: () = assert!(UDP_PAYLOAD_BYTES <= PAYLOAD_BYTES);
const _: () = assert!(ARENA_BLOCK_BYTES <= PAYLOAD_BYTES);
const _: () = assert!(DRAIN_EVENTS <= LANE_EVENTS);
