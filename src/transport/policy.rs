//! Where events may go: who can subscribe can aim our traffic.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

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

/// Loopback and private networks (RFC 1122, 1918, 4193). Link-local ones are left out: cloud
/// metadata services live there.
const PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
];

impl Default for Policy {
    fn default() -> Self {
        let allow = PRIVATE
            .iter()
            .map(|net| net.parse().expect("a valid network"))
            .collect();
        Self { allow, files: None }
    }
}

/// The policy in force.
#[derive(Debug)]
pub(crate) struct Gate {
    policy: RwLock<Arc<Policy>>,
    /// Counts the policies.
    version: AtomicU64,
}

impl Gate {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy: RwLock::new(Arc::new(policy)),
            version: AtomicU64::new(0),
        }
    }

    /// Puts another in its place.
    pub(super) fn replace(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        // Relaxed: who sees the new number takes the lock to see the policy.
        self.version.fetch_add(1, Relaxed);
    }

    /// Another number after each change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    pub(super) fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Policy {
    /// Refuses all if one must not be sent to: a name server must not choose for us.
    pub(super) fn check_all(&self, addresses: &[SocketAddr]) -> Result<(), String> {
        addresses
            .iter()
            .try_for_each(|&address| self.check(address))
    }

    /// Refuses an address that must not be sent to; the error says why.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), String> {
        let ip = address.ip().to_canonical();
        let kind = match ip {
            _ if address.port() == 0 => Some("port 0"),
            ip if ip.is_unspecified() => Some("the unspecified address"),
            ip if ip.is_multicast() => Some("a multicast address"),
            IpAddr::V4(v4) if v4.is_broadcast() => Some("a broadcast address"),
            _ => None,
        };
        if let Some(kind) = kind {
            return Err(format!(
                "{address} is {kind}; events go to single receivers"
            ));
        }
        if self.allow.iter().any(|net| net.contains(&ip)) {
            return Ok(());
        }
        Err(format!(
            "{ip} is not in an allowed network; see [policy] allow"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str) -> bool {
        Policy::default().check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn loopback_and_private_networks_are_allowed() {
        for address in [
            "127.0.0.1:1",
            "10.1.2.3:9",
            "172.31.0.1:9",
            "192.168.0.1:9",
            "[::1]:9",
            "[fd00::1]:9",
        ] {
            assert!(allowed(address), "{address}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for address in [
            "8.8.8.8:53",
            "169.254.169.254:80",
            "224.0.0.1:9",
            "255.255.255.255:9",
            "0.0.0.0:9",
            "127.0.0.1:0",
            "172.32.0.1:9",
            "[::]:9",
            "[ff02::1]:9",
            "[fe80::1]:9",
            "[2001:db8::1]:9",
            "[::ffff:8.8.8.8]:53",
            "[64:ff9b::7f00:1]:9",
        ] {
            assert!(!allowed(address), "{address}");
        }
    }
}
