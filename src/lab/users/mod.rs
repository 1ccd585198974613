//! `lyncpin lab users`: simulated Lync users that sign in, call each other and measure.

mod call;
mod demo;
mod engine;
mod history_file;
mod meter;
mod options;
mod population;
mod report;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use call::CallFailure;
pub use history_file::HistoryFileError;
pub use meter::Meter;
pub use options::UsersOptions;
pub use population::{PopulationError, USERS_MAX};
pub use report::{Report, Timing};

use crate::client::{History, UserOptions};
use engine::Engine;
use history_file::HistoryFile;

/// The run could not begin, or its history is not whole: exit status 2.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error(transparent)]
    Population(#[from] PopulationError),
    #[error(transparent)]
    History(#[from] HistoryFileError),
    #[error("the demonstration needs two users")]
    DemoNeedsTwo,
}

/// Runs to the end of `duration_s`, or to an interrupt. The caller prints the report, as JSON if `options.json`, and
/// exits with [`Report::exit_code`]; with 2 on an error.
pub async fn run(options: UsersOptions) -> Result<Report, UsersError> {
    if options.demo {
        return demo::run(&options, demo_accounts(&options)?).await;
    }
    let population = population::population(&options)?;
    let file = match &options.history {
        Some(path) => Some(HistoryFile::create(path).await?),
        None => None,
    };
    let history = file.as_ref().map(|f| f.history.clone() as Arc<dyn History>);
    let engine = Engine::new(options, population, history);
    let mut report = engine.run().await;
    drop(engine);
    if let Some(file) = file {
        report.history_lost = file.finish().await?;
    }
    Ok(report)
}

/// The first two of the users file, or Alice and Bob.
fn demo_accounts(options: &UsersOptions) -> Result<Vec<UserOptions>, PopulationError> {
    if options.users_csv.is_some() {
        return population::population(options);
    }
    let account = |user, line, epid: &str| {
        let mut account = UserOptions::new(user, line, options.server.as_str());
        account.epid = epid.to_owned();
        account.product = options.product.unwrap_or_default();
        account
    };
    Ok(vec![
        account("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "bd23d94254"),
        account("sip:bob@contoso.com", "tel:+14255550102;ext=5102", "5c0e17aa90"),
    ])
}
