//! Lanes and arena, against queues and plain copies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::input::Input;
use crate::arena::Arena;
use crate::lane::{Consumer, Lanes, Producer};

/// The raising threads, and what each has pushed that was not taken yet.
struct Raisers {
    all: Lanes<(usize, u32)>,
    producers: Vec<Option<Producer<(usize, u32)>>>,
    expected: Vec<VecDeque<u32>>,
}

impl Raisers {
    /// An item was taken: it is the oldest of its raiser.
    fn taken(&mut self, (raiser, item): (usize, u32)) {
        assert_eq!(self.expected[raiser].pop_front(), Some(item));
    }

    /// How many items wait.
    fn waiting(&self) -> usize {
        self.expected.iter().map(VecDeque::len).sum()
    }

    fn push(&mut self, raiser: usize, item: u32, capacity: usize) {
        let Some(Some(producer)) = self.producers.get(raiser) else {
            return;
        };
        let has_room = producer.has_room();
        let pushed = producer.push((raiser, item));
        assert_eq!(
            pushed,
            if has_room {
                Ok(())
            } else {
                Err((raiser, item))
            }
        );
        let own = self.expected[raiser].len();
        if has_room {
            assert!(own < capacity, "more than the lane holds");
            self.expected[raiser].push_back(item);
            return;
        }
        // What ended raisers left may lie there, too.
        let ended = self.producers.iter().zip(&self.expected);
        let left: usize = ended
            .filter(|(producer, _)| producer.is_none())
            .map(|(_, items)| items.len())
            .sum();
        assert!(own + left >= capacity, "a lane with room is full");
    }

    fn drain(&mut self, consumer: &mut Consumer<(usize, u32)>, limit: usize) -> usize {
        let mut items = Vec::new();
        let taken = consumer.drain(&self.all, limit, |item| items.push(item));
        assert!(taken == items.len() && taken <= limit);
        let mut living = None;
        for (raiser, item) in items {
            if self.producers[raiser].is_some() {
                assert_eq!(*living.get_or_insert(raiser), raiser, "one lane at a time");
            }
            self.taken((raiser, item));
        }
        taken
    }
}

/// Lanes that come, fill and end, in any order: each raiser keeps its own order, also in a lane
/// that it took over, and nothing is lost.
pub(super) fn lanes(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let capacity = 1 + input.below(4);
    let mut raisers = Raisers {
        all: Lanes::new(capacity),
        producers: Vec::new(),
        expected: Vec::new(),
    };
    let mut consumer = Consumer::default();
    let mut next = 0;
    while !input.is_empty() {
        let raiser = input.below(raisers.expected.len().max(1));
        match (input.below(5), raisers.producers.get(raiser)) {
            (0, _) if raisers.producers.len() < 8 => {
                raisers.producers.push(Some(raisers.all.register()));
                raisers.expected.push(VecDeque::new());
            }
            (1 | 2, Some(Some(_))) => {
                raisers.push(raiser, next, capacity);
                next += 1;
            }
            (3, Some(Some(_))) if input.below(4) == 0 => raisers.producers[raiser] = None,
            (3, Some(Some(producer))) => match producer.reclaim() {
                Some(item) => raisers.taken(item),
                None => assert!(raisers.expected[raiser].is_empty()),
            },
            (_, _) => {
                let limit = 1 + input.below(3);
                raisers.drain(&mut consumer, limit);
            }
        }
        let waiting = raisers.waiting();
        assert_eq!(raisers.all.waiting(), waiting);
        assert!(
            waiting == 0 || !consumer.is_idle(&raisers.all),
            "something waits"
        );
    }
    raisers.producers.clear();
    while consumer.drain(&raisers.all, 2, |(raiser, item)| {
        assert_eq!(raisers.expected[raiser].pop_front(), Some(item));
    }) > 0
    {}
    assert_eq!(raisers.waiting(), 0, "{:?}", raisers.expected);
    assert!(consumer.is_idle(&raisers.all));
}

/// Payloads of any size, held for any time: none changes while it is held.
pub(super) fn arena(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut arena = Arena::default();
    let mut held: VecDeque<(Bytes, u8, usize)> = VecDeque::new();
    let mut fill = 0_u8;
    while !input.is_empty() {
        fill = fill.wrapping_add(1);
        match input.below(4) {
            0 => drop(held.pop_front()),
            1 => drop(held.pop_back()),
            sized => {
                let unit = [1, 1, 10, 300][input.below(4)];
                let size = usize::from(input.byte()) * unit;
                // In one piece, or in parts as an encoder writes.
                let part = if sized == 2 { size.max(1) } else { 1000 };
                let payload = arena.write(|block| {
                    for start in (0..size).step_by(part) {
                        let end = size.min(start + part);
                        block.resize(block.len().max(end), 0);
                        block[start..end].fill(fill);
                    }
                    size
                });
                held.push_back((payload, fill, size));
            }
        }
        if held.len() > 20 {
            held.pop_front();
        }
        for (payload, fill, size) in &held {
            assert_eq!(payload.len(), *size);
            assert!(payload.first().is_none_or(|byte| byte == fill));
            assert!(payload.last().is_none_or(|byte| byte == fill));
        }
    }
    for (payload, fill, _) in held {
        assert!(payload.iter().all(|byte| *byte == fill));
    }
}
