//! Activation maximisation: the picture that a direction asks for, found by gradient ascent from noise.
//!
//! The picture is a spectrum in decorrelated colours ([`fourier`], [`colour`]), shaken before every step
//! ([`transform`]), as in Lucid (Olah, Mordvintsev and Schubert 2017, "Feature Visualization", Distill).

pub mod adam;
pub mod ascent;
pub mod colour;
pub mod fourier;
pub mod job;
pub mod objective;
pub mod options;
pub mod transform;

mod function;
mod sparse;

pub use ascent::{Rendering, maximise, maximise_on, png};
pub use job::Job;
pub use options::{MaximiseOptions, Transforms};
