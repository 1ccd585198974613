//! CSTA XML over TCP framing (ECMA-323 edition 3 onwards J.2, earlier G.2): 8 bytes of header, one document.
//!
//! ```text
//! 0  1  2  3  4  5  6  7  8 ...
//! 00 00 LL LL d  d  d  d  XML      LLLL: big endian, unsigned, counts these 8 bytes; dddd: invoke id in ASCII
//! ```

/// Bytes before the document.
pub const HEADER_BYTES: usize = 8;
/// A frame can be no longer: its length has 16 bits.
pub const FRAME_BYTES_MAX: usize = u16::MAX as usize;
/// Requests of either side are numbered from here,
pub const REQUEST_ID_MIN: u16 = 1;
/// up to here; the answer echoes the number.
pub const REQUEST_ID_MAX: u16 = 9998;
/// Events all carry this number.
pub const EVENT_ID: u16 = 9999;

/// One frame: the invoke id and the document, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub invoke: u16,
    pub body: Vec<u8>,
}

/// The stream makes no sense any more. Where the next frame begins is unknown, so the holder closes the connection;
/// looking for a likely header further on would execute bytes nobody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame's format indicator is {found:#06x}, not 0x0000")]
    Version { found: u16 },
    #[error("the frame claims {found} bytes, fewer than its own header")]
    Length { found: u16 },
    #[error("the frame's invoke id is not four digits: {found:?}")]
    InvokeId { found: [u8; 4] },
}

/// The document does not fit a frame; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a document of {body_bytes} bytes does not fit a frame")]
pub struct TooLong {
    pub body_bytes: usize,
}

/// One frame, ready to be written. `invoke` is at most 9999.
pub fn encode(invoke: u16, body: &[u8]) -> Result<Vec<u8>, TooLong> {
    let too_long = TooLong { body_bytes: body.len() };
    let frame_bytes = body.len().checked_add(HEADER_BYTES).ok_or(too_long)?;
    let length = u16::try_from(frame_bytes).map_err(|_| too_long)?;
    debug_assert!(invoke <= EVENT_ID, "an invoke id has four digits");
    let mut bytes = Vec::with_capacity(frame_bytes);
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend([1000, 100, 10, 1].map(|place| b'0' + (invoke / place % 10) as u8));
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Cuts a byte stream into frames, however the network has split it. Holds at most one unfinished frame; between
/// frames it holds no memory.
#[derive(Debug, Default)]
pub struct FrameReader {
    unfinished: Vec<u8>,
    broken: Option<FrameError>,
}

impl FrameReader {
    /// Every frame `bytes` finishes, in order. After an error the reader stays broken and says the same again; frames
    /// finished before the error in the same call are lost with the connection.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let frames = self.cut(bytes);
        if let Err(error) = frames {
            self.broken = Some(error);
            self.unfinished = Vec::new();
        }
        frames
    }

    /// Bytes of an unfinished frame held at the moment.
    pub fn held_bytes(&self) -> usize {
        self.unfinished.len()
    }

    fn cut(&mut self, mut bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            if self.unfinished.len() < HEADER_BYTES {
                let taken = bytes.len().min(HEADER_BYTES - self.unfinished.len());
                self.unfinished.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
            }
            let Some(header) = header(&self.unfinished)? else { break };
            if self.unfinished.capacity() < header.frame_bytes {
                self.unfinished.reserve_exact(header.frame_bytes - self.unfinished.len());
            }
            let taken = bytes.len().min(header.frame_bytes - self.unfinished.len());
            self.unfinished.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.unfinished.len() == header.frame_bytes {
                let mut body = std::mem::take(&mut self.unfinished);
                body.drain(..HEADER_BYTES);
                frames.push(Frame { invoke: header.invoke, body });
            }
        }
        Ok(frames)
    }
}

struct Header {
    frame_bytes: usize,
    invoke: u16,
}

/// Judges as much of a header as is there, so that a wrong peer is found at its first wrong byte; `None` while
/// incomplete.
fn header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    if let [first, rest @ ..] = bytes {
        let found = u16::from_be_bytes([*first, rest.first().copied().unwrap_or(0)]);
        if found != 0 {
            return Err(FrameError::Version { found });
        }
    }
    let [_, _, high, low, digits @ ..] = bytes else { return Ok(None) };
    let length = u16::from_be_bytes([*high, *low]);
    if usize::from(length) < HEADER_BYTES {
        return Err(FrameError::Length { found: length });
    }
    let digits = &digits[..digits.len().min(4)];
    if !digits.iter().all(u8::is_ascii_digit) {
        let mut found = [0; 4];
        found[..digits.len()].copy_from_slice(digits);
        return Err(FrameError::InvokeId { found });
    }
    if digits.len() < 4 {
        return Ok(None);
    }
    let invoke = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    Ok(Some(Header { frame_bytes: usize::from(length), invoke }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_header_is_as_the_annex_draws_it() {
        assert_eq!(encode(1, b"<a/>").unwrap(), b"\x00\x00\x00\x0c0001<a/>");
        assert_eq!(encode(9999, b"").unwrap(), b"\x00\x00\x00\x089999");
    }

    #[test]
    fn a_length_above_the_signed_range_is_unsigned() {
        let body = vec![b'x'; FRAME_BYTES_MAX - HEADER_BYTES];
        let bytes = encode(7, &body).unwrap();
        assert_eq!(bytes[2..4], [0xff, 0xff]);
        assert_eq!(FrameReader::default().received(&bytes).unwrap(), [Frame { invoke: 7, body }]);
    }

    #[test]
    fn a_document_that_does_not_fit_is_refused_whole() {
        let body_bytes = FRAME_BYTES_MAX - HEADER_BYTES + 1;
        assert_eq!(encode(7, &vec![0; body_bytes]), Err(TooLong { body_bytes }));
    }

    #[test]
    fn a_bad_header_breaks_the_reader_for_ever() {
        let cases: [(&[u8], FrameError); 7] = [
            (b"\x01", FrameError::Version { found: 0x0100 }),
            (b"\x00\x01\x00\x0c0001<a/>", FrameError::Version { found: 1 }),
            (b"\x00\x00\x00\x07", FrameError::Length { found: 7 }),
            (b"\x00\x00\x00\x00", FrameError::Length { found: 0 }),
            (b"\x00\x00\x00\x0c 001<a/>", FrameError::InvokeId { found: *b" 001" }),
            (b"\x00\x00\x00\x0c0x", FrameError::InvokeId { found: *b"0x\0\0" }),
            (b"\x00\x00\x00\x0c\x00\x00\x00\x01", FrameError::InvokeId { found: [0, 0, 0, 1] }),
        ];
        for (bytes, error) in cases {
            let mut reader = FrameReader::default();
            assert_eq!(reader.received(bytes), Err(error));
            assert_eq!(reader.received(&encode(1, b"<a/>").unwrap()), Err(error), "no resynchronising");
            assert_eq!(reader.held_bytes(), 0);
        }
    }

    #[test]
    fn a_bad_header_behind_a_good_frame_is_found() {
        let mut bytes = encode(1, b"<a/>").unwrap();
        bytes.extend_from_slice(b"<a/>");
        assert!(FrameReader::default().received(&bytes).is_err());
    }

    #[test]
    fn an_idle_reader_holds_no_memory() {
        let mut reader = FrameReader::default();
        reader.received(&encode(1, &vec![b'x'; 60_000]).unwrap()).unwrap();
        assert_eq!(reader.unfinished.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_segmentation_gives_the_same_frames(
            frames in prop::collection::vec((0u16..=9999, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
            cuts in prop::collection::vec(1usize..400, 0..60),
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(invoke, body)| Frame { invoke, body }).collect();
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame.invoke, &frame.body).unwrap()).collect();
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                read.extend(reader.received(now).unwrap());
                rest = later;
            }
            for byte in rest.chunks(1) {
                read.extend(reader.received(byte).unwrap());
            }
            prop_assert_eq!(read, frames);
            prop_assert_eq!(reader.held_bytes(), 0);
        }

        #[test]
        fn any_bytes_at_all_are_bounded_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut reader = FrameReader::default();
            for part in bytes.chunks(97) {
                let _ = reader.received(part);
                prop_assert!(reader.held_bytes() < FRAME_BYTES_MAX);
            }
        }
    }
}
