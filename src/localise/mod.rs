//! Where in a picture a probe's score comes from: spatial linear attribution, exact for every linear probe.

pub mod linear;
pub mod options;
pub mod upsample;

pub use linear::{attribution, attributions};
pub use options::{Baseline, LocaliseOptions, Upsampling};
pub use upsample::upsample;
