//! Pictures of what directions and units ask for, with their controls.

mod data;
mod jobs;
mod photograph;
mod studio;

pub use data::data;
pub use jobs::of_units;
pub use photograph::Photograph;
pub use studio::{Order, Rendered, Role, Studio};

use super::{Context, Progress};
use crate::error::Result;
use crate::maximise::{Data, MaximiseOptions};

/// Renders what the store lacks.
///
/// # Errors
/// When directions are missing, a unit does not exist, or the network fails.
pub fn run(context: &Context) -> Result<()> {
    let Some(options) = &context.study.maximise else { return Ok(()) };
    let jobs = jobs::of_study(context, options)?;
    let studio = studio(context, options, data(context, options)?)?;
    let mut progress = Progress::start("maximise", jobs.len() * options.steps);
    studio.render(&jobs, |steps, new| progress.advance(steps, new))?;
    progress.finish("picture steps");
    Ok(())
}

/// Every picture of the study with its PNG, in order.
///
/// # Errors
/// When one is missing or damaged.
pub fn get(context: &Context) -> Result<Vec<(Rendered, Vec<u8>)>> {
    let Some(options) = &context.study.maximise else { return Ok(Vec::new()) };
    studio(context, options, data(context, options)?)?.get(&jobs::of_study(context, options)?)
}

fn studio<'a>(context: &'a Context, options: &'a MaximiseOptions, data: Data) -> Result<Studio<'a>> {
    let (graph, device) = (context.network()?, &context.device);
    Ok(Studio { graph, device, store: &context.store, seed: context.seed, options, data, start: None })
}
