//! Activation maximisation: the picture that a unit or a direction asks for, found by gradient ascent from noise.
//!
//! An [`objective`] reads layers; a [`parameter`] says what a picture is made of, in decorrelated colours ([`colour`]);
//! pictures are shaken before every step ([`transform`]) and kept from what [`penalty`] names; an [`optimiser`] makes the
//! steps. (Olah, Mordvintsev and Schubert 2017, "Feature Visualization", Distill.)

pub mod ascent;
pub mod attack;
pub mod colour;
pub mod job;
pub mod objective;
pub mod optimiser;
pub mod options;
pub mod painter;
pub mod parameter;
pub mod penalty;
pub mod reader;
pub mod rendering;
pub mod spectrum;
pub mod transform;
pub mod unit;
pub mod view;

mod batch;
mod diversity;
mod function;
#[cfg(test)]
mod golden;
mod sparse;

pub use ascent::{maximise, maximise_on};
pub use batch::batches;
pub use job::{Job, Start};
pub use objective::Objective;
pub use options::{JudgeOptions, MaximiseOptions};
pub use painter::Data;
pub use reader::{Reader, Seen};
pub use rendering::{Planes, Rendering, png};
pub use transform::Transforms;
