//! Instructions of the hot paths, counted under valgrind: `benches/instructions` runs this and
//! compares with what is written in `benches/instructions.txt`.
//!
//! A heard raise is counted while the reactor is busy with another event, so that it never sleeps
//! and no raise has to wake it: else the count would depend on who runs when.
#![allow(missing_docs, reason = "a bench")]

mod rig;

use std::hint::black_box;

use bellwire::Event;
use bellwire::event::EventName;
use bellwire::wire::jsonrpc;
use bytes::BytesMut;
use gungraun::prelude::*;

use rig::{NAME, Rig, three};

/// Counted together: far fewer than fill a lane or a block of the arena.
const RAISES: usize = 64;

fn nobody() -> Rig {
    Rig::new(0)
}

/// An engine whose reactor is busy for a while, and this thread known to it.
fn busy() -> Rig {
    const PLUG: &str = "E_PLUG";
    let rig = Rig::new(1);
    let plug = rig.engine.declare(PLUG).expect("a valid name");
    rig.subscribe(PLUG, 0..10_000);
    raise(&rig.event);
    rig.settle();
    plug.raise(three);
    while rig.engine.stats().in_lanes > 0 {
        std::thread::yield_now();
    }
    rig
}

#[inline(never)]
fn raise(event: &Event) {
    for _ in 0..RAISES {
        black_box(black_box(event).raise(three));
    }
}

#[library_benchmark]
#[bench::nobody_listens(setup = nobody)]
fn unheard(rig: Rig) -> Rig {
    raise(&rig.event);
    rig
}

#[library_benchmark]
#[bench::one_listens(setup = busy)]
fn heard(rig: Rig) -> Rig {
    raise(&rig.event);
    rig
}

fn block() -> (BytesMut, Box<[u8]>) {
    let name = EventName::new(NAME).expect("a valid name");
    (BytesMut::with_capacity(65_536), jsonrpc::prefix(&name))
}

#[library_benchmark]
#[bench::three_parameters(setup = block)]
fn encode((mut block, prefix): (BytesMut, Box<[u8]>)) -> BytesMut {
    for _ in 0..RAISES {
        jsonrpc::encode(black_box(&mut block), &prefix, three);
    }
    block
}

#[library_benchmark]
#[bench::quoted_strings(setup = block)]
fn escape((mut block, prefix): (BytesMut, Box<[u8]>)) -> BytesMut {
    for _ in 0..RAISES {
        jsonrpc::encode(black_box(&mut block), &prefix, |params| {
            params.str("from", black_box("\"Alice\" <sip:alice@example.com>\r\n"));
        });
    }
    block
}

library_benchmark_group!(name = hot, benchmarks = [unheard, heard, encode, escape]);
main!(library_benchmark_groups = hot);
