//! The directions: every kind of concept probe, behind one trait.

pub mod cav;
pub mod cholesky;
mod gram;
pub mod image_score;
pub mod kernel;
pub mod kind;
pub mod lbfgs;
pub mod linear;
pub mod logistic;
mod normal;
pub mod options;
mod quantile;
mod smo;
pub mod space;
pub mod task;
pub mod weighted;

pub mod car;
pub mod classifier;
pub mod combination;
pub mod combination_span;
pub mod combination_sum;
pub mod cured;
pub mod cured_leace;
pub mod cured_partial;
pub mod cured_span;
pub mod false_positive;
pub mod fp_top;
pub mod imported;
pub mod lda;
pub mod loce;
pub mod mean_difference;
pub mod net2vec;
pub mod netdissect;
pub mod null;
pub mod pattern;
pub mod positions;
pub mod random_set;
pub mod ridge;
pub mod scaling;
mod score;
pub mod segmentation;
pub mod segmentation_box;
pub mod segmentation_gate;
pub mod segmentation_hard;
pub mod segmentation_pattern;
pub mod segmentation_upsampled;
pub mod svm;

#[cfg(test)]
mod fixture;

pub use crate::activation::Variant;
pub use cav::{Cav, Fit};
pub use image_score::ImageScore;
pub use kind::{KINDS, ProbeKind};
pub use options::{Balance, LambdaBy, ProbeOptions};
pub use scaling::Scaling;
pub use score::scores;
pub use space::Space;
pub use task::{Labelled, Outcome, Solution, Task, Unsolved};
