//! ZeroMQ PUB over its own transports: TCP, and UNIX streams (`ipc://`).

use anyhow::{Result, anyhow, ensure};

use super::Peer;
use crate::event::Notification;
use crate::receiver::{Kind, Options, Receiver};

/// A publisher with its subscribers, which are in another process.
pub(crate) struct Zeromq {
    socket: zmq::Socket,
    _context: zmq::Context,
}

impl Zeromq {
    /// The publisher at that endpoint, once all subscribers have joined, and their receiver.
    pub(crate) fn start(subscribers: usize, endpoint: &str) -> Result<(Self, Receiver)> {
        let context = zmq::Context::new();
        // XPUB is PUB that also tells who joins; without that, the first messages are lost.
        let socket = context.socket(zmq::XPUB)?;
        socket.set_xpub_verbose(true)?;
        // No limit: what does not fit would be dropped unseen.
        socket.set_sndhwm(0)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(5000)?;
        socket.bind(endpoint)?;
        let endpoint = socket
            .get_last_endpoint()?
            .map_err(|_| anyhow!("an odd endpoint"))?;
        let receiver = Receiver::start(&Options {
            kind: Kind::Zeromq(endpoint),
            ..Options::udp(subscribers)
        })?;
        for _ in 0..subscribers {
            let joined = socket.recv_bytes(0)?;
            ensure!(joined == [1], "not a subscription: {joined:?}");
        }
        let peer = Self {
            socket,
            _context: context,
        };
        Ok((peer, receiver))
    }
}

impl Peer for Zeromq {
    fn raise(&mut self) -> Result<()> {
        let payload = serde_json::to_vec(&Notification::three())?;
        Ok(self.socket.send(payload, 0)?)
    }
}
