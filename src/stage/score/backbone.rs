//! What the network itself makes of the views: how often the class it likes best stays.

use crate::activation::{Item, LayerSet};
use crate::dataset::split::Part;
use crate::error::Result;
use crate::stage::{Context, items};

/// Whether the best class of every view of every test sample is that of the sample itself. Made once for all layers.
pub(super) struct Backbone {
    /// `[test sample * views + view]`; empty where the network has no logits, or nothing is asked of views.
    same: Vec<bool>,
    views: usize,
}

impl Backbone {
    pub(super) fn of(context: &Context) -> Result<Self> {
        let views = context.study.score.all_views().len();
        let items = items::views(context);
        let Some(head) = context.head.filter(|_| !items.is_empty()) else {
            return Ok(Self { same: Vec::new(), views });
        };
        let open = |items: &[Item]| context.extraction().open(&context.store, items, head);
        let (plain, moved) = (open(&items::plain(context))?, open(&items)?);
        let mut same = Vec::with_capacity(items.len());
        for (t, sample) in context.part(Part::Test).into_iter().enumerate() {
            let clean = best(&plain, sample)?;
            for row in t * views..(t + 1) * views {
                same.push(best(&moved, row)? == clean);
            }
        }
        Ok(Self { same, views })
    }

    /// Share of the views `members` of a test sample whose best class stays; `None` where there are no logits.
    pub(super) fn kept(&self, test: usize, members: &[usize]) -> Option<f64> {
        let of_sample = self.same.get(test * self.views..(test + 1) * self.views)?;
        let kept = members.iter().filter(|v| of_sample[**v]).count();
        Some(kept as f64 / members.len() as f64)
    }
}

/// The class with the highest logit, the first of equal ones.
fn best(set: &LayerSet, row: usize) -> Result<usize> {
    let logits = set.pooled(&[row])?;
    let mut best = (0, f32::NEG_INFINITY);
    for (class, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (class, *logit);
        }
    }
    Ok(best.0)
}
