//! Each record is linearizable: histories of many clients at two voters while the leadership moves, a voter dies and comes
//! back, and links are cut.

mod history;
