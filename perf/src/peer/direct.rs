//! A table behind a lock, serde_json, and `send_to` for each subscriber by whoever raises.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::RwLock;

use anyhow::Result;

use super::Peer;
use crate::event::{NAME, Notification};

/// Subscribers by event, and the socket that sends to them.
#[derive(Debug)]
pub(crate) struct Direct {
    table: RwLock<HashMap<String, Vec<SocketAddr>>>,
    socket: UdpSocket,
}

impl Direct {
    pub(crate) fn new(subscribers: &[SocketAddr]) -> Result<Self> {
        let table = HashMap::from([(NAME.to_owned(), subscribers.to_vec())]);
        Ok(Self {
            table: RwLock::new(table),
            socket: UdpSocket::bind("0.0.0.0:0")?,
        })
    }

    /// Sends to all subscribers of that event.
    pub(super) fn send(&self, event: &str, payload: &[u8]) -> Result<()> {
        let table = self.table.read().expect("no panic under it");
        for subscriber in table.get(event).into_iter().flatten() {
            self.socket.send_to(payload, subscriber)?;
        }
        Ok(())
    }
}

impl Peer for Direct {
    fn raise(&mut self) -> Result<()> {
        let payload = serde_json::to_vec(&Notification::three())?;
        self.send(NAME, &payload)
    }
}
