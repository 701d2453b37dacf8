//! The JSON-RPC notification, against serde_json writing the same bytes.
#![allow(missing_docs, reason = "a bench")]

mod rig;

use std::hint::black_box;

use bellwire::event::EventName;
use bellwire::wire::jsonrpc;
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;

use rig::{NAME, notification, three};

fn encode(criterion: &mut Criterion) {
    let name = EventName::new(NAME).expect("a valid name");
    let prefix = jsonrpc::prefix(&name);
    let mut ours = BytesMut::zeroed(4096);
    let mut theirs = Vec::with_capacity(4096);
    let length = jsonrpc::encode(&mut ours, &prefix, three);
    serde_json::to_writer(&mut theirs, &notification()).expect("memory does not fail");
    assert_eq!(ours[..length], theirs[..], "both write the same bytes");

    let mut group = criterion.benchmark_group("encode/three parameters");
    group.throughput(Throughput::Bytes(theirs.len() as u64));
    group.bench_function("bellwire", |bencher| {
        bencher.iter(|| jsonrpc::encode(black_box(&mut ours), &prefix, three));
    });
    group.bench_function("yardstick: serde_json, derived", |bencher| {
        bencher.iter(|| {
            theirs.clear();
            serde_json::to_writer(black_box(&mut theirs), &notification())
        });
    });
    group.bench_function("yardstick: serde_json, json!", |bencher| {
        bencher.iter(|| {
            theirs.clear();
            let value = serde_json::json!({
                "jsonrpc": "2.0",
                "method": NAME,
                "params": {"ip": "192.168.2.11", "port": 5060, "method": "INVITE"},
            });
            serde_json::to_writer(black_box(&mut theirs), &value)
        });
    });
}

/// A string that needs escapes, and one that does not.
fn strings(criterion: &mut Criterion) {
    #[derive(Serialize)]
    struct One<'a> {
        v: &'a str,
    }
    let plain = "sip:alice@example.com;transport=tcp".repeat(6);
    let quoted = "\"Alice\" <sip:alice@example.com>\r\n".repeat(6);
    for (title, text) in [("plain", &plain), ("quoted", &quoted)] {
        let mut group = criterion.benchmark_group(format!("encode/{title} string"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut ours = BytesMut::zeroed(4096);
        let mut theirs = Vec::with_capacity(4096);
        group.bench_function("bellwire", |bencher| {
            bencher.iter(|| {
                jsonrpc::encode(black_box(&mut ours), b"{", |params| {
                    params.str("v", black_box(text));
                })
            });
        });
        group.bench_function("yardstick: serde_json, derived", |bencher| {
            bencher.iter(|| {
                theirs.clear();
                serde_json::to_writer(black_box(&mut theirs), &One { v: black_box(text) })
            });
        });
    }
}

criterion_group!(benches, encode, strings);
criterion_main!(benches);
