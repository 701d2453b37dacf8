//! ZeroMQ subscribers.

use anyhow::Result;

use super::count::Count;

/// Subscribers of one endpoint.
pub(super) struct Subscribers {
    sockets: Vec<zmq::Socket>,
    _context: zmq::Context,
}

impl Subscribers {
    pub(super) fn connect(count: usize, endpoint: &str) -> Result<Self> {
        let context = zmq::Context::new();
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = context.socket(zmq::SUB)?;
            // No limit: what does not fit would be dropped unseen.
            socket.set_rcvhwm(0)?;
            socket.set_subscribe(b"")?;
            socket.connect(endpoint)?;
            sockets.push(socket);
        }
        Ok(Self {
            sockets,
            _context: context,
        })
    }

    /// Receives for ever.
    pub(super) fn receive(&self, count: &Count) -> Result<()> {
        let mut message = zmq::Message::new();
        let mut items: Vec<zmq::PollItem<'_>> = self
            .sockets
            .iter()
            .map(|socket| socket.as_poll_item(zmq::POLLIN))
            .collect();
        loop {
            zmq::poll(&mut items, -1)?;
            for (number, socket) in self.sockets.iter().enumerate() {
                let (mut payloads, mut bytes) = (0, 0);
                while socket.recv(&mut message, zmq::DONTWAIT).is_ok() {
                    payloads += 1;
                    bytes += message.len() as u64;
                }
                if payloads > 0 {
                    count.add(number, payloads, bytes);
                }
            }
        }
    }
}
