//! A photograph that ascents and attacks start from.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::jobs::order;
use super::studio::{Order, Role};
use crate::dataset::decode::decode;
use crate::error::{Error, Result};
use crate::maximise::{MaximiseOptions, Objective};
use crate::model::Graph;

/// A picture as a network sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Photograph {
    /// Its file's name, without the ending.
    pub name: String,
    /// `[channel, height, width]` of the network's input, values in \[0, 1\].
    pub levels: Vec<f32>,
    /// The same as the network gets it.
    input: Vec<f32>,
}

/// Whether a network takes photographs.
pub(super) fn check_input(graph: &Graph) -> Result<()> {
    let shape = graph.input_shape();
    if shape[1..] == [graph.preprocess().size; 2] {
        return Ok(());
    }
    let problem = format!("its input is {shape:?}, which no photograph becomes");
    Err(Error::data(format!("model `{}`", graph.name()), problem, "choose a network for pictures"))
}

impl Photograph {
    /// Reads a picture, resized and cropped as the network wants it.
    ///
    /// # Errors
    /// When it is no picture, or the network takes none.
    pub fn read(path: &Path, graph: &Graph) -> Result<Self> {
        let image = decode(path).map_err(|reason| Error::file(path, reason, "give a PNG or JPEG picture"))?.to_rgb8();
        check_input(graph)?;
        let (preprocess, shape) = (graph.preprocess(), graph.input_shape());
        let picture = preprocess.picture(&image)?;
        let mut input = vec![0f32; shape.iter().product()];
        preprocess.normalise(&picture, &mut input);
        let levels = preprocess.levels(&picture, shape[0]);
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, levels, input })
    }

    /// Its caricature at a layer, with every seed: the picture whose activation there is the photograph's own, but more of it.
    ///
    /// # Errors
    /// When there is no such layer, or the network fails.
    pub fn caricature(
        &self,
        graph: &Graph,
        device: &Device,
        layer: &str,
        options: &MaximiseOptions,
    ) -> Result<Vec<Order>> {
        let node = graph.layer(layer)?;
        let [channels, height, width] = graph.input_shape();
        let input = Tensor::from_slice(&self.input, (1, channels, height, width), device)?;
        let activation = graph.forward(&input, &[node])?.remove(0).flatten_all()?.to_vec1::<f32>()?;
        let objective = Objective::like(node, &activation, options.cosine_power);
        let name = format!("{layer} like {}", self.name);
        let of = |seed| (order(layer, &name, "caricature", Role::Unit, seed), objective.clone());
        Ok((0..options.seeds as u64).map(of).collect())
    }
}
