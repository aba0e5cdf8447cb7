//! Settings of attribution maps: the `[localise]` table of a study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a map is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// From zero: the map and the bias sum to the score.
    None,
    /// From the mean activation of the fit split: the map sums to the score less the score of the mean.
    Mean,
}

/// What a cell of a map says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Its share of the score: the map and the bias sum to the score.
    #[default]
    Share,
    /// Its share of the score with an equal part of the bias: the map sums to the score, so that a positive cell speaks for
    /// the concept and a negative one against it.
    Biased,
    /// The cosine of its activation with the direction's weights there: strong activations count no more than weak ones.
    Cosine,
    /// Its positive share, cut to the range that tells pictures with the concept from those without and brought to [0, 1];
    /// see the emblem in docs/metrics.md.
    Emblem,
}

/// What becomes of border cells, which see padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// They are as they are.
    #[default]
    Keep,
    /// Every cell is multiplied by the share of its receptive field that lies in the picture.
    Reweight,
}

impl Edge {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Cell {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a map of the layer's grid becomes one of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Upsampling {
    /// Linear between the centres of cells (torch's `bilinear` with `align_corners=False`).
    Bilinear,
    /// The value of the cell a pixel lies in (torch's `nearest`).
    Nearest,
    /// Linear between the centres of what cells see (NetDissect, Bau et al. 2017): where windows are not padded alike on both
    /// sides, these are not the cells' own. As `bilinear` where a cell sees the whole picture.
    Receptive,
    /// Cubic between the centres of cells (torch's `bicubic` with `align_corners=False`): it goes beyond the least and the
    /// highest value of the grid.
    Bicubic,
}

/// The `[localise]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocaliseOptions {
    /// What maps are measured from.
    pub baseline: Baseline,
    /// What a cell of a map says.
    #[serde(skip_serializing_if = "Cell::is_default")]
    #[schemars(extend("default" = Cell::default()))]
    pub cell: Cell,
    /// What becomes of border cells: `"keep"` or `"reweight"`.
    #[serde(skip_serializing_if = "Edge::is_default")]
    #[schemars(extend("default" = Edge::default()))]
    pub edge: Edge,
    /// How maps become as large as masks.
    pub upsample: Upsampling,
    /// How many rings of border cells are left out of the segmentation scores: padding gives them a look of their own.
    #[schemars(range(max = 16))]
    pub drop_ring: usize,
    /// Pictures shown with their map in the report, for each concept and outcome.
    #[schemars(range(max = 50))]
    pub examples: usize,
}

impl Default for LocaliseOptions {
    fn default() -> Self {
        Self {
            baseline: Baseline::None,
            cell: Cell::Share,
            edge: Edge::Keep,
            upsample: Upsampling::Bilinear,
            drop_ring: 0,
            examples: 3,
        }
    }
}

impl LocaliseOptions {
    /// Checks every value. Whether a layer's grid has that many rings to drop is known only once it is open.
    ///
    /// # Errors
    /// When a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("localise.drop_ring", self.drop_ring <= 16, "0 to 16 rings; 0 is the default")?;
        within("localise.examples", self.examples <= 50, "0 to 50 pictures; 3 is the default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_words_and_ranges_are_checked() {
        let options: LocaliseOptions =
            toml::from_str("baseline = \"mean\"\nupsample = \"nearest\"\ncell = \"cosine\"").unwrap();
        assert_eq!((options.baseline, options.upsample), (Baseline::Mean, Upsampling::Nearest));
        assert_eq!(options.cell, Cell::Cosine);
        options.check().unwrap();
        let further: LocaliseOptions =
            toml::from_str("edge = \"reweight\"\nupsample = \"bicubic\"\ncell = \"emblem\"").unwrap();
        assert_eq!((further.edge, further.upsample), (Edge::Reweight, Upsampling::Bicubic));
        assert_eq!(further.cell, Cell::Emblem);
        // A study that keeps its edges has the digest it always had.
        assert!(!serde_json::to_string(&LocaliseOptions::default()).unwrap().contains("edge"));
        let many = LocaliseOptions { examples: 1000, ..options };
        assert!(many.check().unwrap_err().to_string().contains("localise.examples"));
        assert!(toml::from_str::<LocaliseOptions>("basline = \"mean\"").is_err());
    }
}
