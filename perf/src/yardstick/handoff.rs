//! Snapshot load, serde_json encode into a buffer that is there already, queue push: what a raise
//! is made of, each part by the library that is best known for it. Nobody takes from the queue
//! while it is measured.

use std::hint::black_box;

use arc_swap::ArcSwap;
use bytes::Bytes;
use crossbeam::queue::ArrayQueue;

use crate::event::Notification;

#[derive(Debug)]
pub(crate) struct Handoff {
    snapshot: ArcSwap<Vec<u64>>,
    queue: ArrayQueue<(u32, Bytes)>,
    buffer: Vec<u8>,
}

/// What a lane of the engine holds by default.
const CAPACITY: usize = 4096;

impl Handoff {
    pub(crate) fn new() -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(vec![0; 32]),
            queue: ArrayQueue::new(CAPACITY),
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Hands over so many events, not more than the queue holds.
    #[inline(never)]
    pub(crate) fn run(&mut self, events: u64) {
        for _ in 0..events {
            let table = self.snapshot.load();
            self.buffer.clear();
            let written = serde_json::to_writer(&mut self.buffer, &Notification::three());
            debug_assert!(written.is_ok());
            black_box(&self.buffer);
            let item = (table.len() as u32, Bytes::from_static(b""));
            assert!(self.queue.push(item).is_ok(), "the queue is large enough");
        }
    }

    /// Empties the queue.
    pub(crate) fn clear(&self) {
        while self.queue.pop().is_some() {}
    }
}
