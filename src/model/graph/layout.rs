//! How a layer's activation lies on the picture: what probes, maps and objectives see is always
//! `[channel, height, width]`.

use candle_core::Tensor;

use super::Graph;
use crate::error::Result;

/// Most tokens that stand for no patch: a class token, one for distillation, registers.
const EXTRA_TOKENS: usize = 8;

/// Where an activation's channels and positions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[channel, height, width]`.
    Map([usize; 3]),
    /// `[channel]`: one position.
    Vector(usize),
    /// `[token, channel]`: some tokens that stand for no patch, then the patches row by row.
    Tokens {
        /// Tokens before the patches.
        before: usize,
        /// Patches, `[height, width]`.
        grid: [usize; 2],
        /// Channels of a token.
        channels: usize,
    },
}

impl Layout {
    /// `[channel, height, width]` as others see it; tokens that stand for no patch are left out.
    pub fn map_shape(self) -> [usize; 3] {
        match self {
            Self::Map(shape) => shape,
            Self::Vector(channels) => [channels, 1, 1],
            Self::Tokens { grid: [height, width], channels, .. } => [channels, height, width],
        }
    }

    /// Activations `[batch, ..]` as maps `[batch, channel, height, width]`.
    ///
    /// # Errors
    /// When they are not of this layout.
    pub fn to_map(self, z: &Tensor) -> Result<Tensor> {
        let [channels, height, width] = self.map_shape();
        let shape = (z.dim(0)?, channels, height, width);
        let Self::Tokens { before, .. } = self else { return Ok(z.reshape(shape)?) };
        Ok(z.narrow(1, before, height * width)?.transpose(1, 2)?.contiguous()?.reshape(shape)?)
    }

    /// The gradient of activations from that of their maps: zeros for what the maps leave out.
    ///
    /// # Errors
    /// When it is not of this layout.
    pub fn from_map(self, gradient: &Tensor) -> Result<Tensor> {
        match self {
            Self::Map(_) => Ok(gradient.clone()),
            Self::Vector(_) => Ok(gradient.flatten_from(1)?),
            Self::Tokens { before, .. } => {
                let patches = gradient.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
                Ok(patches.pad_with_zeros(1, before, 0)?)
            }
        }
    }
}

impl Graph {
    /// How a node's activation lies on the picture. The grid of tokens is that of the last map before them whose positions
    /// are as many as the tokens, or a few less; tokens without such a map lie in a column.
    pub fn layout(&self, node: usize) -> Layout {
        match *self.shape(node) {
            [channels] => Layout::Vector(channels),
            [tokens, channels] => {
                let (before, grid) = self.grid(node, tokens).unwrap_or((0, [tokens, 1]));
                Layout::Tokens { before, grid, channels }
            }
            [channels, height, width] => Layout::Map([channels, height, width]),
            ref other => Layout::Vector(other.iter().product()),
        }
    }

    fn grid(&self, node: usize, tokens: usize) -> Option<(usize, [usize; 2])> {
        (0..node).rev().find_map(|earlier| {
            let &[_, height, width] = self.shape(earlier) else { return None };
            let before = tokens.checked_sub(height * width)?;
            (before <= EXTRA_TOKENS && height * width > EXTRA_TOKENS).then_some((before, [height, width]))
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::zoo;
    use crate::seed::Seed;

    #[test]
    fn patches_lie_on_the_picture_and_the_class_token_does_not() {
        let graph = zoo::random("vit_small_patch14", Seed(1)).unwrap();
        let layout = |name: &str| graph.layout(graph.layer(name).unwrap());
        let tokens = Layout::Tokens { before: 1, grid: [16, 16], channels: 384 };
        assert_eq!((layout("blocks.3"), layout("tokens")), (tokens, tokens));
        assert_eq!(layout("blocks.11.mlp.fc1").map_shape(), [1536, 16, 16]);
        assert_eq!(layout("class_token"), Layout::Vector(384));
        assert_eq!(layout("patch_embed"), Layout::Map([384, 16, 16]));
    }

    #[test]
    fn tokens_become_maps_and_gradients_go_back() {
        let layout = Layout::Tokens { before: 1, grid: [2, 3], channels: 2 };
        // Token t has the channels 10 t and 10 t + 1.
        let values: Vec<f32> = (0..14).map(|i| (10 * (i / 2) + i % 2) as f32).collect();
        let z = Tensor::from_vec(values, (1, 7, 2), &Device::Cpu).unwrap();
        let map = layout.to_map(&z).unwrap();
        assert_eq!(map.dims(), [1, 2, 2, 3]);
        let flat = map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat, [10., 20., 30., 40., 50., 60., 11., 21., 31., 41., 51., 61.]);
        let back = layout.from_map(&map).unwrap();
        let rest = (&back - &z).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(rest[..2], [0.0, -1.0]);
        assert!(rest[2..].iter().all(|v| *v == 0.0));
    }
}
