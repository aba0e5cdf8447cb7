//! Where in a picture a probe's score comes from: spatial linear attribution, exact for every linear probe, and second
//! opinions on it from the network itself.

pub mod emblem;
pub mod linear;
pub mod opinion;
pub mod options;
pub mod upsample;

pub use emblem::{Emblem, emblem};
pub use linear::{attribution, attributions, drop_rings, drop_rings_window, weights};
pub use opinion::{Method, OpinionOptions};
pub use options::{Baseline, Cell, Edge, LocaliseOptions, Upsampling};
pub use upsample::{Centres, Enlarging, upsample};
