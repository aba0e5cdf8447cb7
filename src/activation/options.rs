//! The `[activation]` table of a study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shard::Storage;
use crate::error::{Error, Result};
use crate::model::Precision;

/// How activations are computed and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActivationOptions {
    /// Precision on disk: "f32", "f16" or "pooled".
    pub storage: Storage,
    /// Numbers the network computes with: "f32", or "bf16", which is faster and less exact. Only activations are computed
    /// with them, those of augmented views and edited renders too; maximisation and everything after stay f32.
    pub precision: Precision,
    /// Pictures a forward pass takes at once.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Samples of one shard: what a killed run loses at most.
    #[schemars(range(min = 1))]
    pub shard: usize,
}

impl Default for ActivationOptions {
    fn default() -> Self {
        Self { storage: Storage::F32, precision: Precision::F32, batch: 16, shard: 64 }
    }
}

impl ActivationOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a number is zero.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("activation.batch", self.batch), ("activation.shard", self.shard)] {
            if value == 0 {
                return Err(Error::key(key, "must be at least 1", "leave it out for the default"));
            }
        }
        Ok(())
    }
}
