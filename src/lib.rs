//! cavern asks of a neural network: does this direction mean the concept?
//!
//! Data flow in one direction: [`dataset`] → [`activation`] → [`probe`] → [`localise`], [`maximise`] → [`metric`] →
//! [`report`]. The [`stage`]s of a [`study`] run it, each from the artifacts of the ones before in a [`store`].
//!
//! Each part is of use by itself:
//!
//! ```
//! use cavern::metric::{Bootstrap, Ranking};
//! use cavern::seed::Seed;
//!
//! // Scores of four pictures from two clips, and whether the concept is there.
//! let (scores, present) = ([0.9, 0.2, 0.6, 0.4], [true, false, true, false]);
//! let ranking = Ranking::new(&scores, &present);
//! let resamples = Bootstrap::new(&[0, 0, 1, 1], 200, &mut Seed(1).stream("example"));
//! let auroc = resamples.estimate(|weights| ranking.auroc(weights), 0.5, "chance", 4);
//! assert_eq!(auroc.value, 1.0);
//! ```

pub mod activation;
pub mod cli;
pub mod command;
mod conjugate;
pub mod dataset;
pub mod error;
pub mod interrupt;
pub mod localise;
pub mod maximise;
pub mod metric;
pub mod model;
pub mod ops;
pub mod probe;
pub mod report;
pub mod seed;
mod small;
pub mod stage;
pub mod store;
pub mod study;
pub mod terminal;

pub use error::{Error, Result};
