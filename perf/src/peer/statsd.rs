//! A StatsD client: a counter with tags, through a queue to a thread that sends it over UDP. One
//! datagram a metric, as everybody here delivers one message an event.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Result;
use cadence::{Counted, QueuingMetricSink, StatsdClient, UdpMetricSink};

use super::Peer;
use crate::event::NAME;

/// The client. It has one receiver: that is what a StatsD client can do.
#[derive(Debug)]
pub(crate) struct Statsd(StatsdClient);

impl Statsd {
    pub(crate) fn new(receiver: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        let sink = UdpMetricSink::from(receiver, socket)?;
        let queue = QueuingMetricSink::with_capacity(sink, 4096);
        Ok(Self(StatsdClient::from_sink("proxy", queue)))
    }
}

impl Peer for Statsd {
    fn raise(&mut self) -> Result<()> {
        self.0
            .count_with_tags(NAME, 1)
            .with_tag("ip", "192.168.2.11")
            .with_tag("port", "5060")
            .with_tag("method", "INVITE")
            .try_send()?;
        Ok(())
    }
}
