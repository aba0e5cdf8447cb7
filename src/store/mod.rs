//! Where results live: immutable, content-addressed, atomically published artifacts.

pub mod digest;
