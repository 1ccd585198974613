//! openraft's own types as bytes: a version byte, then MessagePack with field names, so that a field added by a later
//! openraft is no other format.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;

pub fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).map_err(io::Error::other)?;
    Ok(bytes)
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|why| invalid(why.to_string())),
        Some((version, _)) => Err(invalid(format!("format {version}, this version of Lyncpin reads {VERSION}"))),
        None => Err(invalid("nothing there".to_owned())),
    }
}
