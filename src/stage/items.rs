//! Which pictures a study looks at: its samples, views of its test samples, and edited pictures.

use rand::seq::SliceRandom;

use super::Context;
use crate::activation::{Change, Item};
use crate::dataset::split::Part;
use crate::dataset::{Edit, Editing, Presence};
use crate::error::Result;

/// Pairs rendered with and without a concept, for the direction's ground truth.
const PAIRS: usize = 100;
/// Photographs of one concept that it is removed from at most, and those that it is pasted into.
const EDITS: usize = 100;
/// Sham edits of pictures with a concept at most, and of those without.
const SHAMS: usize = 50;

/// Every sample as it is, in the dataset's order: a sample's number is its row.
pub fn plain(context: &Context) -> Vec<Item> {
    (0..context.dataset.samples().len()).map(Item::plain).collect()
}

/// Every view of every test sample, sample by sample: row `t * views + v` is view `v` of test sample `t`.
pub fn views(context: &Context) -> Vec<Item> {
    if context.graph.is_none() || !context.study.score.wants("robustness") {
        return Vec::new();
    }
    let views = context.study.score.all_views();
    let views = views.as_slice();
    let all = context.part(Part::Test).into_iter();
    all.flat_map(|sample| views.iter().map(move |view| Item { sample, change: Change::View(*view) })).collect()
}

/// Rows of the edits of one concept in [`edits`], each with the test sample that was edited.
#[derive(Debug, Clone, Default)]
pub struct EditRows {
    /// Pictures that have the concept after the edit: hard positives.
    pub present: Vec<(usize, usize)>,
    /// Pictures that lack it after the edit: hard negatives.
    pub absent: Vec<(usize, usize)>,
    /// Pictures edited as much, that have the concept or lack it as before.
    pub sham: Vec<(usize, usize)>,
    /// Pairs of rows, with and without the concept, for the direction's ground truth.
    pub pairs: Vec<(usize, usize)>,
}

/// Edited pictures of test samples, and for each concept which rows they are. Empty where nothing can be edited.
///
/// # Errors
/// When an edit cannot be tried.
pub fn edits(context: &Context) -> Result<(Vec<Item>, Vec<EditRows>)> {
    let mut edits = Edits { context, items: Vec::new() };
    let mut rows = Vec::new();
    for concept in 0..context.concepts().len() {
        let wants = |family| context.graph.is_some() && context.study.score.wants(family);
        rows.push(match context.dataset.editing() {
            Editing::Rendered if wants("hard") || wants("direction") => edits.rendered(concept)?,
            Editing::Retouched if wants("hard") => edits.retouched(concept),
            _ => EditRows::default(),
        });
    }
    Ok((edits.items, rows))
}

struct Edits<'a> {
    context: &'a Context,
    items: Vec<Item>,
}

impl Edits<'_> {
    /// Every test sample with the concept without it, and with its companion swapped; shams; pairs.
    fn rendered(&mut self, concept: usize) -> Result<EditRows> {
        let mut rows = EditRows::default();
        let [positives, negatives] = self.drawn("shams", concept);
        let mut in_order = positives.clone();
        in_order.sort_unstable();
        for sample in in_order {
            if let Some([removed, kept]) = self.push_all(sample, concept, [Edit::Removed, Edit::Kept])? {
                rows.absent.push((sample, removed));
                rows.present.push((sample, kept));
            }
        }
        for sample in positives.into_iter().take(SHAMS).chain(negatives.into_iter().take(SHAMS)) {
            rows.sham.extend(self.push_all(sample, concept, [Edit::Sham])?.map(|[row]| (sample, row)));
        }
        let mut test = self.context.part(Part::Test);
        test.shuffle(&mut self.context.seed.stream(&format!("pairs/{}", self.context.concepts()[concept])));
        for sample in test.into_iter().take(PAIRS) {
            let pair = self.push_all(sample, concept, [Edit::With, Edit::Without])?;
            rows.pairs.extend(pair.map(|[with, without]| (with, without)));
        }
        Ok(rows)
    }

    /// The concept filled in, pasted, and neither, on photographs with masks. Partners are other test samples, drawn at
    /// random.
    fn retouched(&mut self, concept: usize) -> EditRows {
        let mut rows = EditRows::default();
        let [mut positives, negatives] = self.drawn("edits", concept);
        positives.retain(|s| self.context.dataset.samples()[*s].coverage[concept] > 0.0);
        if positives.len() < 2 || negatives.len() < 2 {
            return rows;
        }
        let another = |list: &[usize], i: usize| list[(i + 1) % list.len()];
        for sample in positives.iter().take(EDITS) {
            rows.absent.push((*sample, self.push(*sample, concept, Edit::Removed)));
        }
        for (sample, from) in negatives.iter().zip(positives.iter().cycle()).take(EDITS) {
            rows.present.push((*sample, self.push(*sample, concept, Edit::Pasted { from: *from })));
        }
        for (i, sample) in positives.iter().enumerate().take(SHAMS) {
            let edit = Edit::ShamFilled { region: another(&positives, i) };
            rows.sham.push((*sample, self.push(*sample, concept, edit)));
        }
        for (i, (sample, region)) in negatives.iter().zip(positives.iter().cycle()).enumerate().take(SHAMS) {
            let edit = Edit::ShamPasted { region: *region, from: another(&negatives, i) };
            rows.sham.push((*sample, self.push(*sample, concept, edit)));
        }
        rows
    }

    /// Test samples with and without a concept, each in an order drawn from a stream of that name.
    fn drawn(&self, stream: &str, concept: usize) -> [Vec<usize>; 2] {
        let context = self.context;
        let mut rng = context.seed.stream(&format!("{stream}/{}", context.concepts()[concept]));
        [Presence::Present, Presence::Absent].map(|wanted| {
            let has = |s: &usize| context.dataset.samples()[*s].presence[concept] == wanted;
            let mut samples: Vec<usize> = context.part(Part::Test).into_iter().filter(has).collect();
            samples.shuffle(&mut rng);
            samples
        })
    }

    fn push(&mut self, sample: usize, concept: usize, edit: Edit) -> usize {
        self.items.push(Item { sample, change: Change::Edit(concept, edit) });
        self.items.len() - 1
    }

    /// Adds edits of a sample, or none of them where one cannot be made; their rows.
    fn push_all<const N: usize>(
        &mut self,
        sample: usize,
        concept: usize,
        edits: [Edit; N],
    ) -> Result<Option<[usize; N]>> {
        for edit in edits {
            if self.context.dataset.edited(sample, concept, edit)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(edits.map(|edit| self.push(sample, concept, edit))))
    }
}
