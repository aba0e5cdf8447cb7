//! What a user asks for: a study file, checked, with overrides.

pub mod file;
pub mod overrides;
pub mod schema;
pub mod survey;
mod toml_file;

pub use file::{ModelSpec, Resize, Study};
pub use survey::{Family, Survey, SurveyAscents, SurveyAttack, SurveyData, SurveyNetwork};
