//! The directions: every kind of concept probe, behind one trait.

pub mod cav;

pub use cav::{Cav, Fit, Variant};
