//! Where a raising thread writes its payloads: large blocks, cut into `Bytes`, used again.
//!
//! A block is shared by the payloads cut from it and is free again when the last of them was
//! dropped, wherever that happened. The arena turns through a few blocks; only when all are in use
//! does it allocate another. In steady state it allocates nothing.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::limits::ARENA_BLOCK_BYTES;

/// Blocks kept for another turn. More than these live only as long as their payloads.
const BLOCKS: usize = 16;
/// Room a payload finds at least without growing its block.
const ROOM: usize = ARENA_BLOCK_BYTES / 32;

/// A thread's supply of payload memory.
#[derive(Debug)]
pub struct Arena {
    block: BytesMut,
    resting: VecDeque<BytesMut>,
    /// Follows the largest payload of this block and the one before, so that large ones do not
    /// grow a block each time.
    room: usize,
    /// The largest payload of this block.
    largest: usize,
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            block: BytesMut::new(),
            // With one more for a moment.
            resting: VecDeque::with_capacity(BLOCKS + 1),
            room: ROOM,
            largest: 0,
        }
    }
}

impl Arena {
    /// Cuts off the beginning of a block, as many bytes as `write` says that it wrote there. The
    /// block is as long as it is large: `write` may write anywhere in it, and lengthen it.
    #[inline]
    pub fn write(&mut self, write: impl FnOnce(&mut BytesMut) -> usize) -> Bytes {
        if self.block.len() < self.room {
            self.turn();
        }
        let length = write(&mut self.block);
        let payload = self.block.split_to(length).freeze();
        if payload.len() > self.largest {
            self.note(payload.len());
        }
        payload
    }

    /// A payload is larger than all others of this block.
    #[cold]
    #[inline(never)]
    fn note(&mut self, length: usize) {
        if length > ARENA_BLOCK_BYTES {
            // The block has grown for it, and would be kept as large as that.
            self.block = BytesMut::zeroed(ARENA_BLOCK_BYTES);
            return;
        }
        self.largest = length;
        self.room = self.room.max(length.next_power_of_two());
    }

    /// Lays the used-up block to rest and takes the first one that is free again.
    #[cold]
    #[inline(never)]
    fn turn(&mut self) {
        self.room = self.largest.next_power_of_two().max(ROOM);
        self.largest = 0;
        let mut used = std::mem::take(&mut self.block);
        used.clear();
        if used.capacity() > 0 || !self.resting.is_empty() {
            self.resting.push_back(used);
        }
        for _ in 0..self.resting.len() {
            let Some(mut block) = self.resting.pop_front() else {
                break;
            };
            if block.try_reclaim(ARENA_BLOCK_BYTES) {
                block.resize(ARENA_BLOCK_BYTES, 0);
                self.block = block;
                return;
            }
            self.resting.push_back(block);
        }
        self.resting.truncate(BLOCKS);
        self.block = BytesMut::zeroed(ARENA_BLOCK_BYTES);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn write(arena: &mut Arena, length: usize) -> Bytes {
        arena.write(|block| {
            block.resize(block.len().max(length), 0);
            block[..length].fill(7);
            length
        })
    }

    /// Payloads that fill a block each.
    const LARGE: usize = ARENA_BLOCK_BYTES - 1;

    #[test]
    fn blocks_are_used_again_in_turn() {
        let mut arena = Arena::default();
        let mut held = VecDeque::new();
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..20 * BLOCKS {
            let payload = write(&mut arena, LARGE);
            places.insert(payload.as_ptr() as usize);
            held.push_back(payload);
            if held.len() > 4 {
                held.pop_front();
            }
        }
        assert!(places.len() <= 6, "{} blocks for 5 payloads", places.len());
    }

    #[test]
    fn blocks_beyond_those_kept_go_with_their_payloads() {
        let mut arena = Arena::default();
        let held: Vec<Bytes> = (0..3 * BLOCKS).map(|_| write(&mut arena, LARGE)).collect();
        assert_eq!(arena.resting.len(), BLOCKS);
        drop(held);
        write(&mut arena, LARGE);
        assert!(arena.resting.len() <= BLOCKS);
    }

    #[test]
    fn large_payloads_do_not_grow_a_block_each_time() {
        let mut arena = Arena::default();
        let length = 5 * ROOM;
        write(&mut arena, length);
        for _ in 0..100 {
            arena.write(|block| {
                assert!(block.len() >= length, "it would grow");
                length
            });
        }
    }

    #[test]
    fn after_a_large_payload_small_ones_share_a_block_again() {
        for large in [LARGE, 10 * ARENA_BLOCK_BYTES] {
            let mut arena = Arena::default();
            write(&mut arena, large);
            // One block may be given up for it.
            let held: Vec<Bytes> = (0..20).map(|_| write(&mut arena, 100)).collect();
            let neighbours = held.windows(2).filter(|pair| {
                let [one, next] = pair else { return false };
                next.as_ptr() as usize == one.as_ptr() as usize + 100
            });
            assert!(neighbours.count() >= 17, "{large}");
            assert!(arena.block.capacity() <= ARENA_BLOCK_BYTES, "{large}");
        }
    }
}
