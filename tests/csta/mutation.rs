//! Damaged samples, always the same ones.

use lyncpin::csta::{decode, encode};

use crate::samples::bodies;

const CASES: usize = 30_000;
const PIECES: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "&",
    "&amp;",
    "&#65;",
    "&#0;",
    "&x;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml",
    "?>",
    "<!DOCTYPE",
    "xmlns=\"",
    "\"",
    "'",
    "=",
    ":",
    "\0",
    "\u{feff}",
    "\u{fffd}",
    "<a>",
    "</a>",
    "<callID>",
    "</callID>",
    "<extensions>",
    "true",
    " ",
    "\r\n",
];

/// xorshift64: the cases are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn damage(body: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.roll(body.len());
    let until = (at + dice.roll(40)).min(body.len());
    match dice.roll(7) {
        0 if !body.is_empty() => body[at] ^= 1 << dice.roll(8),
        1 => drop(body.drain(at..until)),
        2 => {
            let copy = body[at..until].to_vec();
            body.splice(at..at, copy);
        }
        3 => drop(body.splice(at..at, PIECES[dice.roll(PIECES.len())].bytes())),
        4 => body.truncate(at),
        5 => {
            let from = dice.roll(other.len());
            body.truncate(at);
            body.extend_from_slice(&other[from..]);
        }
        _ => {
            let (from, to) = (dice.roll(body.len()), dice.roll(body.len()));
            if from < body.len() && to < body.len() {
                body.swap(from, to);
            }
        }
    }
}

#[test]
fn damaged_samples_never_panic_and_what_is_read_is_written_stably() {
    let bodies = bodies();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for case in 0..CASES {
        let mut body = bodies[dice.roll(bodies.len())].1.clone();
        let other = &bodies[dice.roll(bodies.len())].1;
        for _ in 0..=dice.roll(4) {
            damage(&mut body, other, &mut dice);
        }
        let Ok(document) = decode(&body) else { continue };
        read += 1;
        let written = encode(&document.payload, &document.namespace);
        // No amplification: the longest escape is six bytes for one; 1 KiB covers elements that are always written.
        assert!(written.len() <= 6 * body.len() + 1024, "case {case}");
        let again = decode(&written).unwrap_or_else(|fault| panic!("case {case}: {fault}"));
        assert_eq!(encode(&again.payload, &again.namespace), written, "case {case}");
    }
    assert!(read > CASES / 20 && read < CASES, "{read} of {CASES} damaged bodies were still documents");
}
