//! What reading and writing one CSTA body costs. Peer: quick-xml's event loop over the same bytes, nothing kept.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lyncpin::csta::tree::Tree;
use lyncpin::csta::{ED3, decode, encode};
use quick_xml::Reader;
use quick_xml::events::Event;

const DELIVERED: &[u8] = include_bytes!("../tests/samples/rcc/C01-g2c-INFO-DeliveredEvent-incoming.sip");
const MAKE_CALL: &[u8] = include_bytes!("../tests/samples/rcc/D01-c2g-INFO-MakeCall.sip");

fn body(message: &[u8]) -> &[u8] {
    let head = message.windows(4).position(|window| window == b"\r\n\r\n").expect("samples have a head");
    &message[head + 4..]
}

fn event_loop(body: &[u8]) -> usize {
    let mut reader = Reader::from_reader(body);
    let mut events = 0;
    loop {
        match reader.read_event().expect("samples are well-formed") {
            Event::Eof => return events,
            event => {
                black_box(event);
                events += 1;
            }
        }
    }
}

fn csta_parse(criterion: &mut Criterion) {
    for (name, body) in [("DeliveredEvent", body(DELIVERED)), ("MakeCall", body(MAKE_CALL))] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("quick-xml event loop", |bencher| bencher.iter(|| event_loop(black_box(body))));
        group.bench_function("tree", |bencher| bencher.iter(|| Tree::parse(black_box(body))));
        group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(body))));
        let document = decode(body).expect("samples are well-formed");
        group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&document.payload), ED3)));
        group.finish();
    }
}

criterion_group!(benches, csta_parse);
criterion_main!(benches);
