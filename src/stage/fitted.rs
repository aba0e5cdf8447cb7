//! The artifact of the fit stage: every direction of one layer and variant.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::probe::Cav;
use crate::store::artifact::{Artifact, Draft};
use crate::store::digest::Digest;

/// The kind of artifact.
pub const KIND: &str = "probe";

const TABLE: &str = "cavs.json";
const DIRECTIONS: &str = "directions.safetensors";

/// A probe that could not be fitted, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// What was missing.
    pub reason: String,
}

/// Every direction of one layer and variant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fitted {
    /// The probes of the study, nulls included.
    pub cavs: Vec<Cav>,
    /// Classifiers from other draws: for each concept the voting ensemble, and one more that is its zero line.
    pub references: Vec<Cav>,
    /// Degraded twins of FP-CAVs.
    pub twins: Vec<Cav>,
    /// What could not be fitted.
    pub refused: Vec<Refused>,
}

impl Fitted {
    /// All directions: probes, references, twins.
    pub fn all(&self) -> impl Iterator<Item = &Cav> {
        self.cavs.iter().chain(&self.references).chain(&self.twins)
    }

    /// Writes the artifact's files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, draft: &mut Draft) -> Result<()> {
        draft.write_json(TABLE, self)?;
        draft.write(DIRECTIONS, &directions(&self.all().collect::<Vec<_>>())?)
    }

    /// Reads the artifact.
    ///
    /// # Errors
    /// When a file is damaged.
    pub fn read(artifact: &Artifact) -> Result<Self> {
        let mut fitted: Self = artifact.read_json(TABLE)?;
        let bytes = artifact.read(DIRECTIONS)?;
        let path = artifact.file(DIRECTIONS)?;
        let damaged = |problem: String| Error::file(&path, problem, "delete its folder and run `cavern fit` again");
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let Fitted { cavs, references, twins, .. } = &mut fitted;
        for (i, cav) in cavs.iter_mut().chain(references).chain(twins).enumerate() {
            let tensor = tensors.tensor(&i.to_string()).map_err(|e| damaged(e.to_string()))?;
            let values = tensor.data().chunks_exact(4);
            cav.direction = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        }
        Ok(fitted)
    }
}

/// One tensor a direction, by number.
fn directions(cavs: &[&Cav]) -> Result<Vec<u8>> {
    let named = cavs.iter().enumerate().map(|(i, cav)| (i.to_string(), *cav));
    tensors(&named.collect::<Vec<_>>(), None)
}

/// A safetensors file of named directions: full ones `[channel, height, width]`, others `[channel]`.
///
/// # Errors
/// When safetensors refuses the shapes.
pub fn tensors(named: &[(String, &Cav)], provenance: Option<String>) -> Result<Vec<u8>> {
    let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("cannot write directions: {e}"));
    let bytes: Vec<Vec<u8>> =
        named.iter().map(|(_, c)| c.direction.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = named.iter().zip(&bytes).map(|((name, cav), bytes)| {
        let full = cav.direction.len() == cav.shape.iter().product::<usize>();
        let shape = if full { cav.shape.to_vec() } else { vec![cav.direction.len()] };
        TensorView::new(Dtype::F32, shape, bytes).map(|view| (name.as_str(), view)).map_err(failure)
    });
    let metadata = provenance.map(|text| HashMap::from([("cavern".to_owned(), text)]));
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, metadata).map_err(failure)
}

/// What later stages name their own artifacts by.
pub fn digest(artifact: &Artifact) -> &Digest {
    &artifact.manifest().key
}
