//! The hand-made messages of `tests/samples/rcc`: every CSTA body read, written and read again.

use std::fs;
use std::path::Path;

use lyncpin::csta::{ED3, Payload, decode, encode};

/// (file stem, body) of every sample that has one.
fn bodies() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/rcc");
    let mut bodies: Vec<_> = fs::read_dir(folder)
        .expect("the samples are part of the repository")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .filter_map(|path| {
            let message = fs::read(&path).expect("readable");
            let head = message.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
            let stem = path.file_stem().expect("named").to_string_lossy().into_owned();
            (message.len() > head).then(|| (stem, message[head..].to_vec()))
        })
        .collect();
    bodies.sort();
    bodies
}

/// The document without prolog and layout.
fn compact(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).expect("UTF-8");
    let text = text.split_once("?>").map_or(text, |(_, document)| document);
    let mut compact = String::new();
    for piece in text.split_inclusive('>') {
        let is_after_tag = compact.is_empty() || compact.ends_with('>');
        compact.push_str(if is_after_tag && piece.trim_start().starts_with('<') { piece.trim_start() } else { piece });
    }
    compact.trim_end().to_owned()
}

#[test]
fn every_sample_body_is_read_whole_and_in_edition_3() {
    let bodies = bodies();
    assert!(bodies.len() > 80, "{} bodies", bodies.len());
    for (name, body) in bodies {
        let document = decode(&body).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(&*document.namespace, ED3, "{name}");
        assert!(!matches!(document.payload, Payload::Unknown { .. }), "{name}: {:?}", document.payload);
    }
}

/// ECMA-323: child order is fixed, so equality with the samples proves the order we write.
#[test]
fn every_sample_body_is_written_again_byte_for_byte_but_for_layout() {
    for (name, body) in bodies() {
        let document = decode(&body).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let written = encode(&document.payload, &document.namespace);
        assert_eq!(compact(&written), compact(&body), "{name}");
        assert!(written.starts_with(br#"<?xml version="1.0" encoding="UTF-8"?><"#), "{name}");
        assert_eq!(decode(&written), Ok(document), "{name}");
    }
}
