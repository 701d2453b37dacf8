//! tokio's broadcast channel, with a task and a connected socket for each subscriber.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::Peer;
use crate::event::Notification;

/// The channel, and the runtime with the tasks behind it.
#[derive(Debug)]
pub(crate) struct Broadcast {
    channel: Sender<Bytes>,
    _runtime: Runtime,
}

impl Broadcast {
    pub(crate) fn new(subscribers: &[SocketAddr]) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("tokio")
            .enable_io()
            .build()?;
        let (channel, _) = channel(4096);
        for &subscriber in subscribers {
            let receiver = channel.subscribe();
            let socket = runtime.block_on(connect(subscriber))?;
            runtime.spawn(forward(receiver, socket));
        }
        Ok(Self {
            channel,
            _runtime: runtime,
        })
    }
}

async fn connect(subscriber: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(subscriber).await?;
    Ok(socket)
}

/// Ends with the channel. What it was too slow for is lost, and missing at the receiver.
async fn forward(mut receiver: Receiver<Bytes>, socket: UdpSocket) {
    loop {
        match receiver.recv().await {
            Ok(payload) => {
                if socket.send(&payload).await.is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

impl Peer for Broadcast {
    fn raise(&mut self) -> Result<()> {
        let payload = serde_json::to_vec(&Notification::three())?;
        self.channel
            .send(payload.into())
            .ok()
            .context("nobody listens")?;
        Ok(())
    }
}
