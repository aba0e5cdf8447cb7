//! cavern asks of a neural network: does this direction mean the concept?
//!
//! Data flow in one direction: [`dataset`] → [`activation`] → [`probe`] → localise, maximise → [`metric`] → [`report`].

pub mod activation;
pub mod dataset;
pub mod error;
pub mod maximise;
pub mod metric;
pub mod model;
pub mod ops;
pub mod probe;
pub mod report;
pub mod seed;
pub mod store;

pub use error::{Error, Result};
