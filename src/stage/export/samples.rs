//! What activations and maps are of: samples with their labels, groups and parts.

use serde_json::{Value, json};

use super::{PARTS, Wanted};
use crate::dataset::{Part, Presence};
use crate::error::Result;
use crate::stage::Context;
use crate::store::arrays::Array;

/// The chosen samples of a study, and its chosen concepts.
pub(super) struct Samples<'a> {
    context: &'a Context,
    /// Numbers of the samples, in the dataset's order: row `i` of a file is sample `rows[i]`.
    pub(super) rows: Vec<usize>,
    /// Numbers of the concepts.
    pub(super) concepts: Vec<usize>,
}

impl<'a> Samples<'a> {
    /// Those of some parts.
    pub(super) fn of(context: &'a Context, wanted: &Wanted<'_>, parts: &[Part]) -> Result<Self> {
        super::check("concept", wanted.concepts, context.concepts().iter().map(String::as_str))?;
        let all = 0..context.split.part.len();
        let concepts = 0..context.concepts().len();
        Ok(Self {
            context,
            rows: all.filter(|s| parts.contains(&context.split.part[*s])).collect(),
            concepts: concepts.filter(|c| super::wants(wanted.concepts, &context.concepts()[*c])).collect(),
        })
    }

    /// `groups` `[n]`: samples of one number were never parted.
    pub(super) fn groups(&self) -> Array<'static> {
        Array::i32("groups".into(), self.rows.iter().map(|s| self.context.split.block[*s] as i32).collect())
    }

    /// `labels` `[n, concepts]` and `split` `[n]`.
    pub(super) fn labels_and_split(&self) -> [Array<'static>; 2] {
        let samples = self.context.dataset.samples();
        let label = |presence: Presence| match presence {
            Presence::Present => 1,
            Presence::Absent => 0,
            Presence::Unknown => -1,
        };
        let of = |(s, c): (&usize, &usize)| label(samples[*s].presence[*c]);
        let cells = self.rows.iter().flat_map(|s| self.concepts.iter().map(move |c| (s, c)));
        let labels = cells.map(of).collect();
        let code = |s: &usize| PARTS.iter().position(|p| *p == self.context.split.part[*s]).unwrap_or(0) as i8;
        let n = self.rows.len();
        [
            Array::i8("labels".into(), vec![n, self.concepts.len()], labels),
            Array::i8("split".into(), vec![n], self.rows.iter().map(code).collect()),
        ]
    }

    /// Where the arrays are from, and what their rows and columns are.
    pub(super) fn about(&self) -> Result<Value> {
        let context = self.context;
        let of = |s: &usize| &context.dataset.samples()[*s];
        Ok(json!({
            "cavern": env!("CARGO_PKG_VERSION"),
            "study": context.study.name,
            "study_digest": context.study.digest()?,
            "samples_digest": context.samples_digest()?,
            "model": context.study.model.name,
            "model_digest": context.graph.as_ref().map(|g| g.digest().clone()),
            "preprocess": context.preprocess(),
            "precision": context.study.activation.precision,
            "concepts": self.concepts.iter().map(|c| &context.concepts()[*c]).collect::<Vec<_>>(),
            "parts": PARTS.map(Part::name),
            "samples": self.rows.iter().map(|s| &of(s).name).collect::<Vec<_>>(),
            "ids": self.rows.iter().map(|s| &of(s).id).collect::<Vec<_>>(),
        }))
    }
}
