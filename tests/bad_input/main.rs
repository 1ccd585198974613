//! Bad input against the running gateway over loopback, class by class (the table in the design's reliability sheet).
//!
//! In every class two users on a connection of their own go on calling each other: they must see no failure and no
//! violation, and afterwards the gateway holds what it held before.

mod body;
mod crash;
mod crowd;
mod dialog;
mod header;
mod raw;
mod rig;
mod stream;
mod users;
