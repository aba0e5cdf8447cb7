//! Which pictures are to be looked at: samples as they are, augmented views of them, and edited renders.

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Edit, View};
use crate::error::Result;
use crate::store::digest::{Digest, DigestBuilder};

/// What is done to a sample before the network sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    None,
    /// An augmented view of the preprocessed picture.
    View(View),
    /// A new render with a known effect on a concept (by its number in the dataset).
    Edit(usize, Edit),
}

/// A sample and its change: what one row of activations belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The sample's number in the dataset.
    pub sample: usize,
    /// What is done to it.
    pub change: Change,
}

impl Item {
    /// A sample as it is.
    pub fn plain(sample: usize) -> Self {
        Self { sample, change: Change::None }
    }

    /// Digest of the picture: of its pixels, or of the original's and the change. `seed` moves views with noise.
    ///
    /// # Errors
    /// When the change has no JSON form.
    pub fn id(&self, dataset: &dyn Dataset, seed: u64) -> Result<Digest> {
        let base = &dataset.samples()[self.sample].id;
        let concept = match &self.change {
            Change::None => return Ok(base.clone()),
            Change::View(_) => "",
            Change::Edit(concept, _) => &dataset.concepts()[*concept],
        };
        let id = DigestBuilder::new("derived sample v1").field("of", base.as_str()).field("concept", concept);
        Ok(id.json("change", &self.change)?.field("seed", seed.to_le_bytes()).finish())
    }
}
