//! Looking up host names, off every path that must not wait.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::limits::RESOLVE_TIME;

/// Most lookups under way at one time: one cannot be interrupted, so a dead name server holds
/// the threads that ask it.
const LOOKUPS: usize = 32;

/// Counts the lookups under way: each holds a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookups(Arc<()>);

impl Lookups {
    /// Waits for the addresses of a host.
    pub(super) fn run(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let (answer, wait) = mpsc::sync_channel(1);
        // Nobody waits any more if it took too long.
        self.start(host, port, move |addresses| drop(answer.send(addresses)))?;
        wait.recv_timeout(RESOLVE_TIME)
            .map_err(|_| format!("cannot look up {host:?}: no answer in {RESOLVE_TIME:?}"))?
    }

    /// Looks a host up on a thread of its own, which tells the addresses: at least one, IPv4 first
    /// as most receivers bind it.
    pub(super) fn start(
        &self,
        host: &str,
        port: u16,
        tell: impl FnOnce(Result<Vec<SocketAddr>, String>) + Send + 'static,
    ) -> Result<(), String> {
        let ticket = Arc::clone(&self.0);
        if Arc::strong_count(&ticket) > LOOKUPS + 1 {
            return Err(format!(
                "cannot look up {host:?}: {LOOKUPS} lookups wait already"
            ));
        }
        let name = host.to_owned();
        let lookup = move || {
            let addresses = (name.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect);
            drop(ticket);
            tell(sorted(&name, addresses));
        };
        thread::Builder::new()
            .name("bellwire-lookup".to_owned())
            .spawn(lookup)
            .map_err(|error| format!("cannot look up {host:?}: {error}"))?;
        Ok(())
    }
}

fn sorted(host: &str, answer: std::io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = answer.map_err(|error| format!("cannot look up {host:?}: {error}"))?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    match addresses.is_empty() {
        true => Err(format!("{host:?} has no address")),
        false => Ok(addresses),
    }
}
