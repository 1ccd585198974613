//! The pair behind real parts of somebody else's, with the configuration files that `deploy/` ships: nodes are killed,
//! frozen and restarted by turns while users call, and no session is lost.

mod calling;
mod front_end;
mod haproxy;
mod kamailio;
mod laboratory;
mod ordeal;
mod pair;
mod part;
mod scenario;
