//! The directions: every kind of concept probe, behind one trait.

pub mod cav;
pub mod lbfgs;
pub mod space;

pub use cav::{Cav, Fit, Variant};
pub use space::Space;
