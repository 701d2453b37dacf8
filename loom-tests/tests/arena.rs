//! Payload memory that is handed over, dropped elsewhere and used again.
//!
//! The counts inside `bytes` are real, not modelled: loom runs them in whole steps. What is
//! checked is ours: that a block is not written to while a payload of it is read.
#![cfg(loom)]

use std::sync::Arc;

use bellwire::internals::{Arena, Consumer, Lanes};
use bellwire_loom_tests::{model, spawn};
use bytes::Bytes;

/// More than half a block of the model's size, so that each payload needs another block.
const PAYLOAD: usize = 40;
const PAYLOADS: u8 = 4;

#[test]
fn a_payload_stays_what_it_was() {
    model(|| {
        let lanes: Arc<Lanes<Bytes>> = Arc::new(Lanes::new(2));
        let lane = lanes.register();
        let raiser = spawn(move || {
            let mut arena = Arena::default();
            let mut kept = 0;
            for number in 0..PAYLOADS {
                let payload = arena.write(|block| {
                    block[..PAYLOAD].fill(number);
                    PAYLOAD
                });
                kept += usize::from(lane.push(payload).is_ok());
            }
            kept
        });
        let (mut consumer, mut held) = (Consumer::default(), Vec::new());
        let check = |payload: &Bytes| {
            assert_eq!(payload.len(), PAYLOAD);
            assert!(
                payload.iter().all(|&byte| byte == payload[0]),
                "{payload:?}"
            );
        };
        let mut taken = 0;
        for _ in 0..2 {
            consumer.drain(&lanes, 1, |payload| held.push(payload));
            taken += held.len();
            held.drain(..).for_each(|payload| check(&payload));
        }
        let kept = raiser.join().expect("the raiser ends well");
        while consumer.drain(&lanes, 1, |payload| held.push(payload)) > 0 {}
        held.iter().for_each(check);
        assert_eq!(taken + held.len(), kept);
    });
}
