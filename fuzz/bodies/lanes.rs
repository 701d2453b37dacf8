//! Lanes and arena, against queues and plain copies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::input::Input;
use crate::arena::Arena;
use crate::lane::{Consumer, Lanes, Producer};

/// Lanes that come, fill and end, in any order: each keeps its own order, and nothing is lost.
pub(super) fn lanes(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let capacity = 1 + input.below(4);
    let all = Lanes::new(capacity);
    let mut consumer = Consumer::default();
    let mut producers: Vec<Option<Producer<(usize, u32)>>> = Vec::new();
    let mut expected: Vec<VecDeque<u32>> = Vec::new();
    let mut next = 0;
    while !input.is_empty() {
        let lane = input.below(expected.len().max(1));
        match (input.below(5), producers.get(lane)) {
            (0, _) if producers.len() < 8 => {
                producers.push(Some(all.register()));
                expected.push(VecDeque::new());
            }
            (1 | 2, Some(Some(producer))) => {
                let has_room = expected[lane].len() < capacity;
                assert_eq!(producer.has_room(), has_room);
                let pushed = producer.push((lane, next));
                assert_eq!(pushed, if has_room { Ok(()) } else { Err((lane, next)) });
                if has_room {
                    expected[lane].push_back(next);
                }
                next += 1;
            }
            (3, Some(Some(_))) if input.below(4) == 0 => producers[lane] = None,
            (3, Some(Some(producer))) => {
                let reclaimed = producer.reclaim().map(|(_, item)| item);
                assert_eq!(reclaimed, expected[lane].pop_front());
            }
            (_, _) => {
                let limit = 1 + input.below(3);
                drain(&mut consumer, &all, limit, &mut expected);
            }
        }
        let waiting: usize = expected.iter().map(VecDeque::len).sum();
        assert_eq!(all.waiting(), waiting);
        assert!(waiting == 0 || !consumer.is_idle(&all), "something waits");
    }
    producers.clear();
    while drain(&mut consumer, &all, 2, &mut expected) > 0 {}
    assert!(
        expected.iter().all(VecDeque::is_empty),
        "{expected:?} is lost"
    );
    assert!(consumer.is_idle(&all));
}

fn drain(
    consumer: &mut Consumer<(usize, u32)>,
    all: &Lanes<(usize, u32)>,
    limit: usize,
    expected: &mut [VecDeque<u32>],
) -> usize {
    let mut from = None;
    let taken = consumer.drain(all, limit, |(lane, item)| {
        assert_eq!(*from.get_or_insert(lane), lane, "one lane at a time");
        assert_eq!(expected[lane].pop_front(), Some(item));
    });
    assert!(taken <= limit);
    taken
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
                let unit = [1, 40, 700, 3000][input.below(4)];
                let size = usize::from(input.byte()) * unit;
                // In one piece, or in parts as an encoder writes.
                let part = if sized == 2 { size.max(1) } else { 1000 };
                let payload = arena.write(|block| {
                    assert!(block.is_empty(), "a fresh block");
                    for start in (0..size).step_by(part) {
                        block.extend_from_slice(&vec![fill; part.min(size - start)]);
                    }
                });
                held.push_back((payload, fill, size));
            }
        }
        if held.len() > 64 {
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
