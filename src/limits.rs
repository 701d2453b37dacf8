//! Every maximum in one place, related to each other by assertions that the compiler checks.

use std::time::Duration;

/// Whether the sizes of tables and turns are small, so that tests reach their ends.
const SMALL: bool = cfg!(any(test, fuzzing, loom));

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
pub const ARENA_BLOCK_BYTES: usize = if cfg!(loom) { 64 } else { 64 * 1024 };
/// Subscriptions in one chunk of a subscriber table: what one change copies.
pub const CHUNK_SUBSCRIPTIONS: usize = if SMALL { 4 } else { 256 };
/// Changes of the subscriptions that are published together.
pub const BATCH_CHANGES: usize = if SMALL { 8 } else { 1024 };
/// Chunks in one block of the spine.
pub const BLOCK_CHUNKS: usize = if SMALL { 2 } else { 32 };
/// Events the reactor takes from one lane before it looks at the next.
pub const DRAIN_EVENTS: usize = if SMALL { 24 } else { 64 };
/// Matches the reactor serves (at least one event) before it looks at everything else again.
pub const TURN_MATCHES: usize = if SMALL { 100 } else { 16 * 1024 };
/// Datagrams handed to the kernel in one `sendmmsg`.
pub const SEND_BATCH: usize = 64;
/// UDP sockets connected to one destination each.
pub const UDP_CONNECTED: usize = if SMALL { 3 } else { 64 };
/// UDP datagrams that wait when the send buffer is full.
pub const UDP_STALLED: usize = if SMALL { 50 } else { 4096 };
/// Lifetime of a subscription that names none, in seconds (OpenSIPS `DEFAULT_EXPIRE`).
pub const DEFAULT_EXPIRE_SECS: u32 = 3600;
/// Longest management request, in bytes (one more than OpenSIPS's 65,457 would be cut there).
pub const MI_REQUEST_BYTES: usize = 64 * 1024;
/// How long a request that came in parts through a FIFO may take to end.
pub const FIFO_SPLIT_TIME: Duration = Duration::from_secs(1);
/// How often a reply FIFO that nobody reads yet is tried again, and how long apart (OpenSIPS).
pub const FIFO_OPEN_TRIES: u32 = 4;
/// See [`FIFO_OPEN_TRIES`].
pub const FIFO_OPEN_PAUSE: Duration = Duration::from_millis(80);
/// How long a reader of a reply may make no progress before the reply is dropped.
pub const REPLY_STALL_TIME: Duration = Duration::from_millis(200);
/// How long a reply may take in all.
pub const REPLY_TIME: Duration = Duration::from_secs(10);
/// Management requests that one listener takes a second, unless the configuration says otherwise.
pub const MI_REQUESTS_PER_SECOND: u32 = 1000;
/// How many seconds' worth of them it takes at once.
pub const MI_BURST_TIME: Duration = Duration::from_secs(5);
/// Most bytes of replies that wait for their readers; one reply may be longer.
pub const REPLIES_BYTES: usize = 64 * 1024 * 1024;
/// Most replies that wait for their readers.
pub const REPLIES: usize = 256;
/// Most replies that wait for one reader.
pub const REPLIES_TO_ONE: usize = 16;
/// How often it is looked whether a FIFO is still there (OpenSIPS).
pub const FIFO_CHECK_TIME: Duration = Duration::from_secs(30);
/// Most management requests that wait for a name lookup at one time.
pub const MI_LOOKUPS: usize = 16;
/// Longest delimiter of a flat file.
pub const DELIMITER_BYTES: usize = 16;
/// Longest line of a flat file: a column of one digit takes two bytes of a payload.
pub const LINE_BYTES: usize = PAYLOAD_BYTES / 2 * (DELIMITER_BYTES + 1);
/// Bytes of lines that are handed to the kernel in one call; one line may be longer.
pub const FILE_BATCH_BYTES: usize = 1 << 20;
/// Lines on their way to the disk together.
pub const FILE_BATCH_LINES: usize = 256;
/// Destinations of one engine that have a thread of their own.
pub const SLOW_DESTINATIONS: usize = 512;
/// Batches of events that such a thread can have waiting; the rest waits with the reactor.
pub const WORKER_BATCHES: usize = 64;
/// Longest name lookup.
pub const RESOLVE_TIME: Duration = Duration::from_secs(2);
/// Brokers that one engine is connected to: each connection has a thread.
pub const BROKERS: usize = 128;
/// Sockets at brokers: each has a channel.
pub const BROKER_SOCKETS: usize = 1024;
/// Messages of a queue that a broker hands us before we have acknowledged the first.
pub const PREFETCH: u16 = 500;
/// How long a client may take to say goodbye to a server that nobody needs any more. The tests are
/// patient: what they wait for may stand still for a second on a busy machine.
pub const FAREWELL_TIME: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 1 });
/// Longest answer of a `tcp:` receiver (OpenSIPS takes up to 8,192 bytes).
pub const REPLY_BYTES: usize = 64 * 1024;
/// Most members of a `virtual:` group.
pub const GROUP_MEMBERS: usize = 16;
/// Deepest nesting of raises: of an event raised by the handler of an event, and so on (OpenSIPS
/// `MAX_REC_LEV`).
pub const NESTED_RAISES: u8 = 100;
/// Longest name of a node, in bytes.
pub const NODE_NAME_BYTES: usize = 64;
/// Most nodes that one event may pass.
pub const PATH_NODES: usize = 16;
/// Different ways, by which events came to one process of late, that are kept.
pub const PATHS: usize = 4096;
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
