//! The directory's files: users from `[[user]]` tables and from a CSV or TOML file beside the configuration, read at
//! start and again whenever the file changes. What the lookups mean is in [`crate::machine::directory`].

mod csv;
mod load;
mod row;
mod watch;

pub use crate::machine::directory::{Appearance, AppearanceRef, Directory};
pub use crate::machine::refusal::Refusal;
pub use load::{Loaded, PROBLEMS_MAX, load};
pub use watch::{DirectoryWatch, Reload};
