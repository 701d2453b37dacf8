//! From one raise to the last of its datagrams, against bare kernel calls to the same
//! destinations.
#![allow(missing_docs, reason = "a bench")]

mod rig;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use rig::{Rig, notification, three};

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for subscribers in [1, 64, 1000, 10_000] {
        group.throughput(Throughput::Elements(subscribers as u64));
        let rig = Rig::new(subscribers);
        group.bench_function(BenchmarkId::new("bellwire", subscribers), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for _ in 0..count {
                    rig.event.raise(three);
                    rig.settle();
                }
                start.elapsed()
            });
        });
        group.bench_function(
            BenchmarkId::new("yardstick: send_to", subscribers),
            |bencher| {
                let bare = Bare::new(subscribers);
                bencher.iter(|| bare.send_to());
            },
        );
        group.bench_function(
            BenchmarkId::new("yardstick: sendmmsg", subscribers),
            |bencher| {
                let bare = Bare::new(subscribers);
                bencher.iter_custom(|count| bare.sendmmsg(count));
            },
        );
    }
}

/// The kernel calls and nothing else.
struct Bare {
    socket: UdpSocket,
    destinations: Vec<SocketAddrV4>,
    payload: Vec<u8>,
    _receiver: UdpSocket,
}

impl Bare {
    fn new(subscribers: usize) -> Self {
        let receiver = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
        let port = receiver.local_addr().expect("its address").port();
        let first = u32::from(Ipv4Addr::LOCALHOST);
        let destinations = (first..first + subscribers as u32)
            .map(|ip| SocketAddrV4::new(ip.into(), port))
            .collect();
        Self {
            socket: UdpSocket::bind("0.0.0.0:0").expect("a UDP socket"),
            destinations,
            payload: serde_json::to_vec(&notification()).expect("memory does not fail"),
            _receiver: receiver,
        }
    }

    fn send_to(&self) {
        for destination in &self.destinations {
            self.socket
                .send_to(&self.payload, destination)
                .expect("a bound peer");
        }
    }

    fn sendmmsg(&self, count: u64) -> Duration {
        let addresses: Vec<SocketAddrAny> = self.destinations.iter().map(|&to| to.into()).collect();
        let slices = [std::io::IoSlice::new(&self.payload)];
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = addresses
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = addresses
            .iter()
            .zip(&mut controls)
            .map(|(address, control)| MMsgHdr::new_with_addr(address, &slices, control))
            .collect();
        let start = Instant::now();
        for _ in 0..count {
            for batch in messages.chunks_mut(64) {
                let sent = sendmmsg(&self.socket, batch, SendFlags::empty());
                assert_eq!(sent, Ok(batch.len()));
            }
        }
        start.elapsed()
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = fanout
}
criterion_main!(benches);
