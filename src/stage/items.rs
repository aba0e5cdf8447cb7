//! Which pictures a study looks at: its samples, views of its test samples, and edited renders.

use rand::seq::SliceRandom;

use super::Context;
use crate::activation::{Change, Item};
use crate::dataset::split::Part;
use crate::dataset::{Edit, Presence};
use crate::error::Result;

/// Pairs rendered with and without a concept, for the direction's ground truth.
const PAIRS: usize = 100;

/// Every sample as it is, in the dataset's order: a sample's number is its row.
pub fn plain(context: &Context) -> Vec<Item> {
    (0..context.dataset.samples().len()).map(Item::plain).collect()
}

/// Every view of every test sample, sample by sample: row `t * views + v` is view `v` of test sample `t`.
pub fn views(context: &Context) -> Vec<Item> {
    if context.graph.is_none() || !context.study.score.wants("robustness") {
        return Vec::new();
    }
    let views = &context.study.score.views;
    let all = context.part(Part::Test).into_iter();
    all.flat_map(|sample| views.iter().map(move |view| Item { sample, change: Change::View(*view) })).collect()
}

/// Rows of the edits of one concept, as pairs of rows in [`edits`].
#[derive(Debug, Clone, Default)]
pub struct EditRows {
    /// Test sample, row with the concept swapped away, row with its companion swapped.
    pub swapped: Vec<(usize, usize, usize)>,
    /// Rows with and without the concept.
    pub pairs: Vec<(usize, usize)>,
}

/// Edited renders of test samples, and for each concept which rows they are. Empty where nothing can be edited.
///
/// # Errors
/// When an edit cannot be tried.
pub fn edits(context: &Context) -> Result<(Vec<Item>, Vec<EditRows>)> {
    let mut items = Vec::new();
    let mut rows = Vec::new();
    let wanted =
        context.graph.is_some() && (context.study.score.wants("hard") || context.study.score.wants("direction"));
    for concept in 0..context.concepts().len() {
        let mut of_concept = EditRows::default();
        if wanted {
            let mut test = context.part(Part::Test);
            for sample in &test {
                if context.dataset.samples()[*sample].presence[concept] == Presence::Present {
                    let pair = push_pair(context, &mut items, *sample, concept, [Edit::Removed, Edit::Kept])?;
                    of_concept.swapped.extend(pair.map(|(removed, kept)| (*sample, removed, kept)));
                }
            }
            test.shuffle(&mut context.seed.stream(&format!("pairs/{}", context.concepts()[concept])));
            test.truncate(PAIRS);
            for sample in test {
                of_concept.pairs.extend(push_pair(context, &mut items, sample, concept, [Edit::With, Edit::Without])?);
            }
        }
        rows.push(of_concept);
    }
    Ok((items, rows))
}

/// Adds two edits of a sample, or neither where one of them cannot be made.
fn push_pair(
    context: &Context,
    items: &mut Vec<Item>,
    sample: usize,
    concept: usize,
    edits: [Edit; 2],
) -> Result<Option<(usize, usize)>> {
    for edit in edits {
        if context.dataset.edited(sample, concept, edit)?.is_none() {
            return Ok(None);
        }
    }
    items.extend(edits.map(|edit| Item { sample, change: Change::Edit(concept, edit) }));
    Ok(Some((items.len() - 2, items.len() - 1)))
}
