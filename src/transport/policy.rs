//! Where events may go: who can subscribe can aim our traffic.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

/// Which destinations subscriptions may name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Networks that may be sent to. Multicast, broadcast, unspecified addresses and port 0 are
    /// refused whatever stands here.
    pub allow: Vec<IpNet>,
    /// The directory below which files may be written; `None` allows none.
    pub files: Option<PathBuf>,
}
