//! Parse, five typed headers, print: the work every message costs, with rsip's for comparison.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use lyncpin::sip::Message;
use lyncpin::sip::stream::{Framer, Limits};
use rsip::headers::ToTypedHeader;
use rsip::message::HeadersExt;

fn sample(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/rcc").join(name);
    Bytes::from(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn typed(message: &Message) {
    let headers = &message.headers;
    black_box((headers.call_id(), headers.cseq(), headers.from(), headers.to(), headers.top_via()))
        .0
        .expect("readable");
}

fn rsip_typed(message: &rsip::SipMessage) {
    black_box(message.call_id_header().expect("Call-ID"));
    black_box(message.cseq_header().expect("CSeq").typed().expect("readable"));
    black_box(message.from_header().expect("From").typed().expect("readable"));
    black_box(message.to_header().expect("To").typed().expect("readable"));
    black_box(message.via_header().expect("Via").typed().expect("readable"));
}

fn sip_parse(criterion: &mut Criterion) {
    for (name, file) in
        [("invite", "A01-c2g-INVITE-RequestSystemStatus.sip"), ("info", "A07-c2g-INFO-MonitorStart.sip")]
    {
        let bytes = sample(file);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("parse", |b| b.iter(|| black_box(Message::parse(&bytes))));
        group.bench_function("parse_typed_print", |b| {
            b.iter(|| {
                let message = Message::parse(&bytes).expect("valid");
                typed(&message);
                black_box(message.to_bytes())
            });
        });
        group.bench_function("framed", |b| {
            b.iter(|| {
                let mut framer = Framer::new(Limits::default());
                framer.push(&bytes);
                black_box(framer.next_frame())
            });
        });
        group.bench_function("rsip_parse", |b| b.iter(|| black_box(rsip::SipMessage::try_from(&bytes[..]))));
        group.bench_function("rsip_parse_typed_print", |b| {
            b.iter(|| {
                let message = rsip::SipMessage::try_from(&bytes[..]).expect("valid");
                rsip_typed(&message);
                black_box(message.to_string())
            });
        });
        group.finish();
    }
}

criterion_group!(benches, sip_parse);
criterion_main!(benches);
