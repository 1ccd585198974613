//! Histories written to a file as JSON lines, by one task, never by the users.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::task::JoinHandle;

use crate::client::StreamedHistory;

/// Entries waiting for the disk; more are lost, and counted.
const ENTRIES_MAX: usize = 65_536;

#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct HistoryFileError {
    pub file: PathBuf,
    pub why: std::io::Error,
}

pub(super) struct HistoryFile {
    pub history: Arc<StreamedHistory>,
    writer: JoinHandle<std::io::Result<()>>,
    path: PathBuf,
}

impl HistoryFile {
    pub async fn create(path: &Path) -> Result<Self, HistoryFileError> {
        let failed = |why| HistoryFileError { file: path.to_owned(), why };
        let mut file = BufWriter::new(File::create(path).await.map_err(failed)?);
        let (history, mut entries) = StreamedHistory::new(ENTRIES_MAX);
        let writer = tokio::spawn(async move {
            while let Some(entry) = entries.recv().await {
                let mut line = serde_json::to_vec(&entry).map_err(std::io::Error::other)?;
                line.push(b'\n');
                file.write_all(&line).await?;
                if entries.is_empty() {
                    file.flush().await?;
                }
            }
            file.flush().await
        });
        Ok(Self { history, writer, path: path.to_owned() })
    }

    /// Waits for the last line; every user and front end that notes into it must be gone. Gives how many were lost.
    pub async fn finish(self) -> Result<u64, HistoryFileError> {
        let failed = |why| HistoryFileError { file: self.path.clone(), why };
        let lost = self.history.lost();
        drop(self.history);
        self.writer.await.map_err(|gone| failed(std::io::Error::other(gone)))?.map_err(failed)?;
        Ok(lost)
    }
}
