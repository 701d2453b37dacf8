//! Half a two-thread UDP ping-pong: one datagram to a thread that sleeps in `recv`.

use std::net::UdpSocket;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::clock::now_ns;
use crate::histogram::Latencies;
use crate::pace::Pace;

/// A thread that sends back what it gets.
#[derive(Debug)]
pub(crate) struct PingPong {
    ping: UdpSocket,
    payload: Vec<u8>,
    pong: Option<JoinHandle<()>>,
}

impl PingPong {
    pub(crate) fn start(payload: Vec<u8>) -> Result<Self> {
        let (ping, pong) = (
            UdpSocket::bind("127.0.0.1:0")?,
            UdpSocket::bind("127.0.0.1:0")?,
        );
        ping.connect(pong.local_addr()?)?;
        pong.connect(ping.local_addr()?)?;
        ping.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
        let echo = move || {
            let mut buffer = [0; 2048];
            // An empty datagram ends it.
            while let Ok(length @ 1..) = pong.recv(&mut buffer) {
                if pong.send(&buffer[..length]).is_err() {
                    return;
                }
            }
        };
        let pong = thread::Builder::new().name("pong".to_owned()).spawn(echo)?;
        Ok(Self {
            ping,
            payload,
            pong: Some(pong),
        })
    }

    /// Half the time from a ping to its pong, at that pace.
    pub(crate) fn run(&self, pace: Pace) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let mut buffer = [0; 2048];
        let mut failed = None;
        pace.run(|meant_ns| {
            let begun = now_ns().max(meant_ns);
            let turn = self
                .ping
                .send(&self.payload)
                .and_then(|_| self.ping.recv(&mut buffer));
            latencies.record((now_ns() - begun) / 2);
            failed = turn.err().or(failed.take());
        });
        match failed {
            Some(error) => Err(error).context("ping-pong"),
            None => Ok(latencies),
        }
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        let told = self.ping.send(&[]).is_ok();
        if let Some(pong) = self.pong.take().filter(|_| told)
            && pong.join().is_err()
        {
            eprintln!("the pong thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_ping_is_answered() {
        let pingpong = PingPong::start(vec![1; 100]).expect("sockets");
        let pace = Pace::new(10_000.0, Duration::from_millis(2));
        let latencies = pingpong.run(pace).expect("answers");
        assert_eq!(latencies.len(), 20);
    }
}
