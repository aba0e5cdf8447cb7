//! cavern asks of a neural network: does this direction mean the concept?
//!
//! Data flow in one direction: [`dataset`] → [`activation`] → [`probe`] → [`localise`], [`maximise`] → [`metric`] →
//! [`report`]. The [`stage`]s of a [`study`] run it, each from the artifacts of the ones before in a [`store`].

pub mod activation;
pub mod cli;
pub mod command;
pub mod dataset;
pub mod error;
pub mod localise;
pub mod maximise;
pub mod metric;
pub mod model;
pub mod ops;
pub mod probe;
pub mod report;
pub mod seed;
pub mod stage;
pub mod store;
pub mod study;

pub use error::{Error, Result};
