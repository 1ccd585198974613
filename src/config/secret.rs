//! Secrets: from a file or the environment, never from the configuration, never in a log.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

/// Bytes a secret may have.
pub const SECRET_BYTES_MAX: usize = 4096;

/// A text that shows itself to nobody who does not ask by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Environment(String),
}

/// The secret is not there; the administrator puts it there, and the link that needs it stays down meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the file {path} cannot be read: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("the environment variable {name} is not set, or is no UTF-8")]
    Environment { name: String },
    #[error("the secret is empty")]
    Empty,
    #[error("the secret is longer than {} bytes", SECRET_BYTES_MAX)]
    TooLong,
}

impl SecretSource {
    /// Reads it now; a file's first line counts.
    pub fn load(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::File(path) => {
                let fail = |source| SecretError::File { path: path.clone(), source };
                let mut text = String::new();
                let file = std::fs::File::open(path).map_err(fail)?;
                file.take(SECRET_BYTES_MAX as u64 + 2).read_to_string(&mut text).map_err(fail)?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| SecretError::Environment { name: name.clone() })?
            }
        };
        match text.len() {
            0 => Err(SecretError::Empty),
            bytes if bytes > SECRET_BYTES_MAX => Err(SecretError::TooLong),
            _ => Ok(Secret(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_its_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }

    #[test]
    fn a_file_holds_the_secret_in_its_first_line() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\r\nnote\n").expect("write");
        assert_eq!(SecretSource::File(path.clone()).load().expect("read").reveal(), "hunter2");
        std::fs::write(&path, "\n").expect("write");
        assert!(matches!(SecretSource::File(path.clone()).load(), Err(SecretError::Empty)));
        std::fs::write(&path, "x".repeat(5000)).expect("write");
        assert!(matches!(SecretSource::File(path).load(), Err(SecretError::TooLong)));
        let absent = SecretSource::File(folder.path().join("absent")).load();
        assert!(matches!(absent, Err(SecretError::File { .. })));
        let unset = SecretSource::Environment("LYNCPIN_TEST_UNSET".into()).load();
        assert!(matches!(unset, Err(SecretError::Environment { .. })));
    }
}
