//! Who the users are: from a pattern, or from the file the gateway has its users from (columns sip and line; server, epid
//! and product may be added).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::options::{UsersOptions, fill};
use crate::client::{Product, UserOptions};

/// More users than this in one process is a mistake in the options.
pub const USERS_MAX: usize = 200_000;

#[derive(Debug, thiserror::Error)]
pub enum PopulationError {
    #[error("{}: {why}", file.display())]
    File { file: PathBuf, why: csv::Error },
    #[error("no users")]
    Nobody,
    #[error("{users} users; at most {USERS_MAX}")]
    TooMany { users: usize },
}

#[derive(Deserialize)]
struct Row {
    sip: String,
    line: String,
    server: Option<String>,
    epid: Option<String>,
    product: Option<Product>,
}

pub(super) fn population(options: &UsersOptions) -> Result<Vec<UserOptions>, PopulationError> {
    let users = match &options.users_csv {
        Some(file) => from_file(file, options)?,
        None if options.users > USERS_MAX => Vec::new(),
        None => (options.first..options.first + options.users).map(|n| from_pattern(n, options)).collect(),
    };
    match users.len() {
        0 if options.users > USERS_MAX => Err(PopulationError::TooMany { users: options.users }),
        0 => Err(PopulationError::Nobody),
        users if users > USERS_MAX => Err(PopulationError::TooMany { users }),
        _ => Ok(users),
    }
}

fn from_pattern(n: usize, options: &UsersOptions) -> UserOptions {
    let number = n.to_string();
    let user = fill(&options.user_pattern, "n", &number);
    let line = fill(&options.line_pattern, "n", &number);
    dressed(UserOptions::new(user, line, options.server.as_str()), n, options.product)
}

fn from_file(file: &Path, options: &UsersOptions) -> Result<Vec<UserOptions>, PopulationError> {
    let failed = |why| PopulationError::File { file: file.to_owned(), why };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file).map_err(failed)?;
    let mut users = Vec::new();
    for row in reader.deserialize::<Row>() {
        let row = row.map_err(failed)?;
        let server = row.server.filter(|s| !s.is_empty()).unwrap_or_else(|| options.server.clone());
        let user = UserOptions::new(row.sip, row.line, server);
        let mut user = dressed(user, users.len() + 1, options.product.or(row.product));
        if let Some(epid) = row.epid.filter(|e| !e.is_empty()) {
            user.epid = epid;
        }
        users.push(user);
    }
    Ok(users)
}

fn dressed(mut user: UserOptions, n: usize, product: Option<Product>) -> UserOptions {
    user.epid = format!("{n:010x}");
    user.product = product.unwrap_or(Product::ALL[n % Product::ALL.len()]);
    user.client_host = format!("10.{}.{}.{}:51063", 1 + (n >> 16) % 250, (n >> 8) % 256, n % 256);
    user
}
