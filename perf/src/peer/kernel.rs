//! The kernel calls and nothing else: the payload is there, the addresses are there.

use std::net::SocketAddr;

use anyhow::Result;

use super::Peer;
use crate::event::Notification;
use crate::yardstick::{Connected, Many};

/// One `send` to one receiver, or one `sendmmsg` to many.
#[derive(Debug)]
pub(crate) enum Kernel {
    Send(Connected),
    Sendmmsg(Many),
}

impl Kernel {
    pub(crate) fn new(subscribers: &[SocketAddr]) -> Result<Self> {
        let payload = Notification::three().to_vec();
        Ok(match *subscribers {
            [subscriber] => Self::Send(Connected::new(subscriber, payload)?),
            _ => Self::Sendmmsg(Many::new(subscribers, payload)?),
        })
    }
}

impl Peer for Kernel {
    fn raise(&mut self) -> Result<()> {
        match self {
            Self::Send(connected) => connected.send(1),
            Self::Sendmmsg(many) => many.send(1),
        }
    }
}
