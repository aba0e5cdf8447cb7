//! Pictures of what directions and units ask for, with their controls, and how good they are.

mod data;
mod direction;
mod jobs;
mod judge;
mod photograph;
mod studio;
mod untrained;

pub use data::{data, data_of_folder, is_needed};
pub use direction::of_file;
pub use jobs::{in_column, of_units};
pub use judge::{Exemplar, Judged};
pub use photograph::Photograph;
pub use studio::{Order, Rendered, Role, Studio};

use super::{Context, Progress};
use crate::error::Result;
use crate::maximise::{Data, MaximiseOptions};
use crate::model::Graph;

/// A network with the pictures that are made in it: the same objectives in every parameterisation.
struct Set<'a> {
    graph: &'a Graph,
    columns: Vec<(Studio<'a>, Vec<Order>)>,
}

/// Renders what the store lacks, and judges it.
///
/// # Errors
/// When directions are missing, a unit does not exist, or a network fails.
pub fn run(context: &Context) -> Result<()> {
    let Some(options) = &context.study.maximise else { return Ok(()) };
    let random = untrained::network(context, options)?;
    let columns = options.columns();
    let sets = sets(context, options, &columns, random.as_ref())?;
    render(&sets.iter().flat_map(|set| &set.columns).collect::<Vec<_>>())?;
    judge::run(context, options, &sets)
}

/// Renders what the store lacks of every studio's pictures.
///
/// # Errors
/// As [`Studio::render`].
pub fn render(all: &[&(Studio<'_>, Vec<Order>)]) -> Result<()> {
    let total = all.iter().map(|(studio, orders)| studio.steps(orders.len())).sum();
    let mut progress = Progress::start("maximise", "picture steps", total)?;
    for (studio, orders) in all {
        progress.find(studio.found(orders)?);
    }
    for (studio, orders) in all {
        studio.render(orders, &mut progress)?;
    }
    progress.finish();
    Ok(())
}

/// What the stage has to show.
#[derive(Debug, Default)]
pub struct Shown {
    /// Every picture with its PNG, in order.
    pub pictures: Vec<(Rendered, Vec<u8>)>,
    /// Those with a gradient, seen through where they do not matter to their objective.
    pub transparent: Vec<(Rendered, Vec<u8>)>,
    /// How good they are, and the real ones beside them.
    pub judged: Judged,
}

/// Everything that was rendered and judged.
///
/// # Errors
/// When it has not been, or an artifact is damaged.
pub fn get(context: &Context) -> Result<Shown> {
    let Some(options) = &context.study.maximise else { return Ok(Shown::default()) };
    let random = untrained::network(context, options)?;
    let columns = options.columns();
    let sets = sets(context, options, &columns, random.as_ref())?;
    let mut shown = Shown { judged: judge::get(context, options, &sets)?, ..Shown::default() };
    for (studio, orders) in sets.iter().flat_map(|set| &set.columns) {
        shown.pictures.extend(studio.get(orders)?);
        shown.transparent.extend(studio.transparent(orders)?);
    }
    Ok(shown)
}

/// A real picture of the dataset as the study's network sees it, as a PNG.
///
/// # Errors
/// When it cannot be read.
pub fn real(context: &Context, exemplar: &Exemplar) -> Result<Vec<u8>> {
    judge::picture(context, exemplar)
}

/// The study's network with its pictures, and the one with random weights.
fn sets<'a>(
    context: &'a Context,
    options: &MaximiseOptions,
    columns: &'a [MaximiseOptions],
    random: Option<&'a Graph>,
) -> Result<Vec<Set<'a>>> {
    let orders = jobs::of_study(context, options)?;
    let statistics: Vec<Data> = columns.iter().map(|column| data(context, column)).collect::<Result<_>>()?;
    let whole = options;
    let set = |graph: &'a Graph, orders: &[Order]| {
        let column = |(options, data): (&'a MaximiseOptions, &Data)| {
            let (device, store, data, seed) = (&context.device, &context.store, data.clone(), context.seed);
            let orders = in_column(orders, options, whole);
            (Studio { graph, device, store, seed, options, data, start: None }, orders)
        };
        Set { graph, columns: columns.iter().zip(&statistics).map(column).collect() }
    };
    let mut out = vec![set(context.network()?, &orders)];
    out.extend(random.map(|graph| set(graph, &jobs::untrained(&orders))));
    Ok(out)
}
