//! `[tcp]`: how `tcp:` and `tls:` sockets behave that do not say it themselves.

use std::time::Duration;

use bellwire::transport;
use serde::{Deserialize, Serialize};

use super::limits::{Count, Seconds};

/// What `transport::Tcp` can be told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Tcp {
    /// Whether an event counts as delivered only when the receiver has replied.
    reliable: bool,
    /// The parameter that holds the event's name; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_param: Option<String>,
    when_full: WhenFull,
    connect_seconds: Seconds<60>,
    stall_seconds: Seconds<3600>,
    reply_seconds: Seconds<60>,
    queue_events: Count<1, { 1 << 20 }>,
    queue_bytes: Count<1, { 1 << 30 }>,
    queue_seconds: Seconds<86_400>,
    retry_seconds: Seconds<3600>,
    idle_seconds: Seconds<3600>,
    silence_seconds: Seconds<3600>,
    /// The kernel's choice if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_buffer_bytes: Option<Count<1, { 1 << 30 }>>,
}

/// Which event a full queue gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum WhenFull {
    Oldest,
    Newest,
}

impl From<&Tcp> for transport::Tcp {
    fn from(tcp: &Tcp) -> Self {
        let time = Duration::from_secs_f64;
        let mut library = Self::default();
        library.reliable = tcp.reliable;
        library.event_param.clone_from(&tcp.event_param);
        library.when_full = match tcp.when_full {
            WhenFull::Oldest => bellwire::WhenFull::DropOldest,
            WhenFull::Newest => bellwire::WhenFull::DropNewest,
        };
        library.connect_time = time(tcp.connect_seconds.0);
        library.stall_time = time(tcp.stall_seconds.0);
        library.reply_time = time(tcp.reply_seconds.0);
        library.queue_events = tcp.queue_events.0;
        library.queue_bytes = tcp.queue_bytes.0;
        library.queue_time = time(tcp.queue_seconds.0);
        library.retry_time = time(tcp.retry_seconds.0);
        library.idle_time = time(tcp.idle_seconds.0);
        library.silence_time = time(tcp.silence_seconds.0);
        library.send_buffer = tcp.send_buffer_bytes.map(|bytes| bytes.0);
        library
    }
}

impl Default for Tcp {
    fn default() -> Self {
        let library = transport::Tcp::default();
        Self {
            reliable: library.reliable,
            event_param: library.event_param,
            when_full: match library.when_full {
                bellwire::WhenFull::DropNewest => WhenFull::Newest,
                _ => WhenFull::Oldest,
            },
            connect_seconds: Seconds(library.connect_time.as_secs_f64()),
            stall_seconds: Seconds(library.stall_time.as_secs_f64()),
            reply_seconds: Seconds(library.reply_time.as_secs_f64()),
            queue_events: Count(library.queue_events),
            queue_bytes: Count(library.queue_bytes),
            queue_seconds: Seconds(library.queue_time.as_secs_f64()),
            retry_seconds: Seconds(library.retry_time.as_secs_f64()),
            idle_seconds: Seconds(library.idle_time.as_secs_f64()),
            silence_seconds: Seconds(library.silence_time.as_secs_f64()),
            send_buffer_bytes: library.send_buffer.map(Count),
        }
    }
}
