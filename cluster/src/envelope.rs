//! The form of a record's body: `[version][type][serde_json]`.
//!
//! A node of an older release may own a record that a newer one wrote. It keeps the members it does not know and writes
//! them back: [`decode`] yields them apart as [`Unknown`], [`encode`] puts them in again. This reaches every object
//! inside objects; members inside the elements of a list are not kept, because an element has no name by which it
//! could be found again: what may grow stands in a map by id. A new enum variant is unreadable to an older release:
//! such types wait for the cluster's feature level.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The envelope's own form.
const VERSION: u8 = 1;

/// A body that cannot be read. The record stays as it is; its key is shown to the operator.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the body is {bytes} bytes long and has no header")]
    Short { bytes: usize },
    #[error("the envelope has form {found}, this release reads {VERSION}")]
    Version { found: u8 },
    #[error("the body is of type {found}, expected {expected}")]
    Type { expected: u8, found: u8 },
    #[error("the body does not fit its type")]
    Json(#[from] serde_json::Error),
}

/// Members a reader did not know, by their place. Almost always empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unknown {
    members: Map<String, Value>,
    /// Known objects that hold unknown members.
    inside: BTreeMap<String, Unknown>,
}

impl Unknown {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.inside.is_empty()
    }

    /// What stands in `read` and is missing in `known`.
    fn between(read: Map<String, Value>, known: &Map<String, Value>) -> Self {
        let mut unknown = Self::default();
        for (name, value) in read {
            match (value, known.get(&name)) {
                (value, None) => {
                    unknown.members.insert(name, value);
                }
                (Value::Object(read), Some(Value::Object(known))) => {
                    let inside = Self::between(read, known);
                    if !inside.is_empty() {
                        unknown.inside.insert(name, inside);
                    }
                }
                _ => {}
            }
        }
        unknown
    }

    /// What the writer knows wins; an object the writer has removed takes its unknown members with it.
    fn add_to(&self, known: &mut Map<String, Value>) {
        for (name, value) in &self.members {
            known.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        for (name, inside) in &self.inside {
            if let Some(Value::Object(known)) = known.get_mut(name) {
                inside.add_to(known);
            }
        }
    }
}

/// Writes a body. An error means that the value's type cannot be JSON at all.
pub fn encode<T: Serialize>(kind: u8, value: &T, unknown: &Unknown) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = vec![VERSION, kind];
    if unknown.is_empty() {
        serde_json::to_writer(&mut bytes, value)?;
        return Ok(bytes);
    }
    let mut value = serde_json::to_value(value)?;
    if let Value::Object(known) = &mut value {
        unknown.add_to(known);
    }
    serde_json::to_writer(&mut bytes, &value)?;
    Ok(bytes)
}

/// Reads a body of the type `kind`, and what the reader does not know of it.
pub fn decode<T: Serialize + DeserializeOwned>(kind: u8, body: &[u8]) -> Result<(T, Unknown), EnvelopeError> {
    let [version, found, json @ ..] = body else { return Err(EnvelopeError::Short { bytes: body.len() }) };
    if *version != VERSION {
        return Err(EnvelopeError::Version { found: *version });
    }
    if *found != kind {
        return Err(EnvelopeError::Type { expected: kind, found: *found });
    }
    let mut is_known = true;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value: T = serde_ignored::deserialize(&mut reader, |_| is_known = false)?;
    reader.end()?;
    if is_known {
        return Ok((value, Unknown::default()));
    }
    let unknown = match (serde_json::from_slice(json)?, serde_json::to_value(&value)?) {
        (Value::Object(read), Value::Object(known)) => Unknown::between(read, &known),
        _ => Unknown::default(),
    };
    Ok((value, unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        calls: BTreeMap<u32, OldCall>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OldCall {
        state: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(default)]
        note: Option<String>,
        #[serde(default)]
        colour: Option<String>,
        calls: BTreeMap<u32, NewCall>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct NewCall {
        state: String,
        #[serde(default)]
        picture: Vec<u8>,
    }

    fn new_value() -> New {
        let call = |picture: u8| NewCall { state: "held".into(), picture: vec![picture] };
        New {
            name: "alice".into(),
            note: Some("n".into()),
            colour: Some("red".into()),
            calls: [(1, call(1)), (2, call(2))].into(),
        }
    }

    #[test]
    fn a_known_body_comes_back_equal_and_nothing_is_unknown() {
        let bytes = encode(7, &new_value(), &Unknown::default()).unwrap();
        assert_eq!(&bytes[..2], &[VERSION, 7]);
        assert_eq!(decode::<New>(7, &bytes).unwrap(), (new_value(), Unknown::default()));
    }

    #[test]
    fn an_older_reader_writes_back_what_it_does_not_know() {
        let bytes = encode(7, &new_value(), &Unknown::default()).unwrap();
        let (mut old, unknown) = decode::<Old>(7, &bytes).unwrap();
        old.name = "bob".into();
        old.calls.get_mut(&1).unwrap().state = "connected".into();
        let back = encode(7, &old, &unknown).unwrap();
        let mut expected = new_value();
        expected.name = "bob".into();
        expected.calls.get_mut(&1).unwrap().state = "connected".into();
        assert_eq!(decode::<New>(7, &back).unwrap().0, expected);
    }

    #[test]
    fn what_an_older_reader_removes_stays_removed() {
        let bytes = encode(7, &new_value(), &Unknown::default()).unwrap();
        let (mut old, unknown) = decode::<Old>(7, &bytes).unwrap();
        old.note = None;
        old.calls.remove(&1);
        let back = decode::<New>(7, &encode(7, &old, &unknown).unwrap()).unwrap().0;
        let mut expected = new_value();
        expected.note = None;
        expected.calls.remove(&1);
        assert_eq!(back, expected);
    }

    #[test]
    fn a_body_of_another_form_or_type_is_refused_by_name() {
        let mut bytes = encode(7, &new_value(), &Unknown::default()).unwrap();
        assert!(matches!(decode::<New>(8, &bytes), Err(EnvelopeError::Type { expected: 8, found: 7 })));
        assert!(matches!(decode::<New>(7, &[1]), Err(EnvelopeError::Short { bytes: 1 })));
        bytes.push(b'x');
        assert!(matches!(decode::<New>(7, &bytes), Err(EnvelopeError::Json(_))));
        bytes[0] = 2;
        assert!(matches!(decode::<New>(7, &bytes), Err(EnvelopeError::Version { found: 2 })));
    }
}
