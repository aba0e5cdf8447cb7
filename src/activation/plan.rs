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

    /// Digest of the picture: of its pixels, or of the original's and the change, with all that the change looks at: the
    /// partners of an edit, and masks. `seed` moves what is random.
    ///
    /// # Errors
    /// When the change has no JSON form.
    pub fn id(&self, dataset: &dyn Dataset, seed: u64) -> Result<Digest> {
        let sample = &dataset.samples()[self.sample];
        let id =
            DigestBuilder::new("derived sample v2").field("of", sample.id.as_str()).json("change", &self.change)?;
        let id = match &self.change {
            Change::None => return Ok(sample.id.clone()),
            Change::View(view) if view.sees_masks() => id
                .json("masks", &sample.masks)?
                .json("concepts", &dataset.concepts())?
                .json("presence", &sample.presence)?,
            Change::View(_) => id,
            Change::Edit(concept, edit) => {
                let mut id = id.field("concept", &dataset.concepts()[*concept]).json("masks", &sample.masks)?;
                for partner in edit.partners().into_iter().map(|p| &dataset.samples()[p]) {
                    id = id.field("partner", partner.id.as_str()).json("masks", &partner.masks)?;
                }
                id
            }
        };
        Ok(id.field("seed", seed.to_le_bytes()).finish())
    }
}
