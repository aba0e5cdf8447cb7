//! Where in a picture a probe's score comes from: spatial linear attribution, exact for every linear probe.

pub mod linear;
pub mod options;
pub mod upsample;

pub use linear::{attribution, attributions, drop_rings, drop_rings_window};
pub use options::{Baseline, LocaliseOptions, Upsampling};
pub use upsample::{ceiling, upsample};
