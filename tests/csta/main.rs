//! The CSTA codec against the sample messages, against itself, and against hostile bodies.

mod expected;
mod failure;
mod features;
mod limits;
mod mutation;
mod roundtrip;
mod samples;
mod tolerance;
mod visit;
