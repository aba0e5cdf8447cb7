//! How much of each cell of a layer's grid a concept covers.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Context;
use crate::dataset::Presence;
use crate::error::Result;

/// Coverage `[height * width]` by sample and concept.
type Grids = BTreeMap<(usize, usize), Vec<f32>>;

/// Coverage of grids, for every sample and concept with a mask. Cells of absent concepts are zero and not kept.
pub struct Coverage {
    /// By `(height, width)`, then sample and concept.
    grids: BTreeMap<(usize, usize), Grids>,
}

impl Coverage {
    /// Reads every mask of `samples` once, for all the study's layers.
    ///
    /// # Errors
    /// When a mask cannot be read.
    pub fn of(context: &Context, samples: &[usize]) -> Result<Self> {
        let sizes: Vec<(usize, usize)> = context.layers.iter().map(|l| (l.shape[1], l.shape[2])).collect();
        let concepts = context.concepts().len();
        let found = samples.par_iter().map(|sample| {
            let mut out = Vec::new();
            for concept in 0..concepts {
                if context.dataset.samples()[*sample].presence[concept] != Presence::Present {
                    continue;
                }
                if let Some(mask) = context.dataset.mask(*sample, concept)? {
                    let window = context.window(mask.width, mask.height);
                    out.extend(sizes.iter().map(|size| (*size, (*sample, concept), mask.grid_coverage(window, *size))));
                }
            }
            Ok(out)
        });
        let mut grids: BTreeMap<(usize, usize), Grids> = BTreeMap::new();
        for (size, key, coverage) in found.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            grids.entry(size).or_default().insert(key, coverage);
        }
        Ok(Self { grids })
    }

    /// The coverage `[height * width]` of a concept in a sample; zeros where it is known to be absent, `None` without
    /// a mask. For a grid of another size than the layers' the mask is read again: such grids may be too large to keep.
    ///
    /// # Errors
    /// When a mask cannot be read.
    pub fn get(
        &self,
        context: &Context,
        size: (usize, usize),
        sample: usize,
        concept: usize,
    ) -> Result<Option<Vec<f32>>> {
        match (context.dataset.samples()[sample].presence[concept], self.grids.get(&size)) {
            (Presence::Present, Some(kept)) => Ok(kept.get(&(sample, concept)).cloned()),
            (Presence::Present, None) => {
                let mask = context.dataset.mask(sample, concept)?;
                Ok(mask.map(|mask| mask.grid_coverage(context.window(mask.width, mask.height), size)))
            }
            (Presence::Absent, _) => Ok(Some(vec![0.0; size.0 * size.1])),
            (Presence::Unknown, _) => Ok(None),
        }
    }
}
