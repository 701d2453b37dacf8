//! Ports for servers that are stopped and started again.

use std::fs;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::TcpListener;

/// Ports that nobody listens on, below those that the kernel gives to whoever connects: one of
/// these would be taken while a broker that used it is not there, even by its own client.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    assert!(first > 12_000, "too few ports below {range}");
    let mut tried = RandomState::new().hash_one(0);
    let mut listeners = Vec::new();
    while listeners.len() < N {
        tried = tried.wrapping_add(1);
        let port = 10_000 + (tried % u64::from(first - 10_000)) as u16;
        listeners.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    ports.try_into().expect("as many as were asked for")
}
