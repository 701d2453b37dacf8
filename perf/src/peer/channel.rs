//! A table behind a lock, serde_json, and a bounded channel to a thread that sends.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use crossbeam::channel::{Sender, bounded};

use super::{Direct, Peer};
use crate::event::{NAME, Notification};

/// The channel and the thread behind it.
#[derive(Debug)]
pub(crate) struct Channel {
    queue: Option<Sender<(&'static str, Vec<u8>)>>,
    sender: Option<JoinHandle<Result<()>>>,
}

impl Channel {
    pub(crate) fn new(subscribers: &[SocketAddr]) -> Result<Self> {
        let (queue, inbox) = bounded::<(&str, Vec<u8>)>(4096);
        let direct = Direct::new(subscribers)?;
        let send = move || -> Result<()> {
            for (event, payload) in inbox {
                direct.send(event, &payload)?;
            }
            Ok(())
        };
        let sender = thread::Builder::new()
            .name("sender".to_owned())
            .spawn(send)?;
        Ok(Self {
            queue: Some(queue),
            sender: Some(sender),
        })
    }
}

impl Peer for Channel {
    fn raise(&mut self) -> Result<()> {
        let payload = serde_json::to_vec(&Notification::three())?;
        let queue = self.queue.as_ref().context("closed")?;
        queue.try_send((NAME, payload)).context("the channel")
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(sender) = self.sender.take()
            && !matches!(sender.join(), Ok(Ok(())))
        {
            eprintln!("the sender behind a channel failed");
        }
    }
}
