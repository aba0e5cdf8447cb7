//! What a user asks for: a study file, checked, with overrides.

pub mod file;
pub mod overrides;

pub use file::{ModelSpec, Resize, Study};
