//! A bare bounded queue, whose consumer sends as fast as it can and never catches up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use bytes::Bytes;
use crossbeam::queue::ArrayQueue;

use super::Many;

/// The queue and its consumer.
#[derive(Debug)]
pub(crate) struct SaturatedQueue {
    queue: Arc<ArrayQueue<(u32, Bytes)>>,
    payload: Bytes,
    full: AtomicU64,
    done: Arc<AtomicBool>,
    consumer: Option<JoinHandle<Result<()>>>,
}

impl SaturatedQueue {
    /// The consumer sends each item to all these destinations.
    pub(crate) fn start(room: usize, to: &[SocketAddr], payload: Vec<u8>) -> Result<Self> {
        let queue = Arc::new(ArrayQueue::new(room));
        let done = Arc::new(AtomicBool::new(false));
        let many = Many::new(to, payload.clone())?;
        let (theirs, ended) = (Arc::clone(&queue), Arc::clone(&done));
        let consume = move || -> Result<()> {
            while !ended.load(Relaxed) {
                match theirs.pop() {
                    Some(_) => many.send(1)?,
                    None => thread::yield_now(),
                }
            }
            Ok(())
        };
        let consumer = thread::Builder::new().name("consumer".to_owned());
        Ok(Self {
            queue,
            payload: payload.into(),
            full: AtomicU64::new(0),
            done,
            consumer: Some(consumer.spawn(consume)?),
        })
    }

    /// Pushes so many items; those that find no room are counted.
    #[inline]
    pub(crate) fn push(&self, times: usize) {
        for _ in 0..times {
            if self.queue.push((7, self.payload.clone())).is_err() {
                self.full.store(self.full.load(Relaxed) + 1, Relaxed);
            }
        }
    }
}

impl Drop for SaturatedQueue {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        if let Some(consumer) = self.consumer.take()
            && !matches!(consumer.join(), Ok(Ok(())))
        {
            eprintln!("the consumer of the queue yardstick failed");
        }
    }
}
