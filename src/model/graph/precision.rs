//! A network whose maps and tokens are bf16.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Graph, Node, Op};
use crate::error::Result;
use crate::ops::Prepared;

/// The numbers a network computes with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// bfloat16, 8 bits of mantissa with f32's range: weights of products, maps and tokens. Sums, biases, norms and
    /// softmaxes stay f32, and so do vectors: what follows the mean over positions or the choice of a token.
    Bf16,
}

/// The number types of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// Of its inputs and its product's weights.
    inside: DType,
    /// Of its activation.
    result: DType,
}

impl Precision {
    /// Its name in a study file.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self { inside: DType::F32, result: DType::F32 }
    }
}

impl Op {
    /// Whether it takes bf16 as it is; the others are given f32.
    fn takes_bf16(&self, on_cpu: bool) -> bool {
        match self {
            Self::Conv2d(..) | Self::Linear(..) | Self::Add(_) | Self::Activation(_) | Self::Concat => true,
            Self::Pool2d(_) | Self::LayerNorm { .. } | Self::ChannelNorm { .. } | Self::Attention { .. } => on_cpu,
            _ => false,
        }
    }

    /// With weights in bf16. Our kernels add biases in f32, candle's operations in the type of the sum.
    fn in_bf16(&self) -> candle_core::Result<Self> {
        let bias = |b: &Tensor| if b.device().is_cpu() { Ok(b.clone()) } else { b.to_dtype(DType::BF16) };
        Ok(match self {
            Self::Conv2d(conv, w, b) => Self::Conv2d(*conv, w.to_dtype(DType::BF16)?, bias(b)?),
            Self::Linear(f, w, b) => Self::Linear(*f, w.to_dtype(DType::BF16)?, bias(b)?),
            other => other.clone(),
        })
    }
}

impl Node {
    fn in_bf16(&self, on_cpu: bool) -> candle_core::Result<Self> {
        let is_vector = self.shape.len() == 1;
        let short = |is: bool| if is { DType::BF16 } else { DType::F32 };
        let takes = !is_vector && self.op.takes_bf16(on_cpu);
        let numbers = Numbers { inside: short(takes), result: short(!is_vector) };
        let op = if takes { self.op.in_bf16()? } else { self.op.clone() };
        Ok(Self { op, numbers, prepared: Arc::new(Prepared::kept()), ..self.clone() })
    }

    /// Inputs as its operation takes them.
    pub(super) fn taken<'t>(&self, inputs: &[&'t Tensor]) -> candle_core::Result<Vec<Cow<'t, Tensor>>> {
        inputs.iter().map(|x| cast(x, self.numbers.inside)).collect()
    }

    /// A result of its operation, or of another's run with it, as others get it.
    pub(super) fn given(&self, y: &Tensor) -> candle_core::Result<Tensor> {
        Ok(cast(y, self.numbers.result)?.into_owned())
    }
}

/// Between f32 and bf16; other types are left alone.
fn cast(x: &Tensor, to: DType) -> candle_core::Result<Cow<'_, Tensor>> {
    match (x.dtype(), to) {
        (DType::F32, DType::BF16) | (DType::BF16, DType::F32) => x.to_dtype(to).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(x)),
    }
}

/// An activation as callers see it.
pub(super) fn widened(x: &Tensor) -> candle_core::Result<Tensor> {
    cast(x, DType::F32).map(Cow::into_owned)
}

impl Graph {
    /// The same network computing with other numbers: weights are converted once, [`Graph::forward`] still takes and gives
    /// f32. In bf16 it runs forward only. Its digest stays that of the weights it was built from.
    ///
    /// On x86 processors with AVX-512-BF16 a product of bf16 is an instruction; on others pairs are widened and multiplied
    /// in f32, which saves memory but no time. AMX has no kernel: its intrinsics are not stable in the compiler we build with.
    ///
    /// # Errors
    /// When candle fails.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        if precision == Precision::F32 {
            return Ok(self.clone());
        }
        let on_cpu = self.nodes.iter().flat_map(|n| n.op.weights()).all(|w| w.device().is_cpu());
        let nodes = self.nodes.iter().map(|n| n.in_bf16(on_cpu)).collect::<candle_core::Result<_>>()?;
        Ok(Self { nodes, precision, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::tests::{attentive, joined, small};
    use super::*;
    use crate::model::build;
    use crate::ops::check::random;
    use crate::ops::to_vec;

    fn networks() -> [Graph; 4] {
        [small(), attentive(), joined(), build("elements_cnn", None, &Device::Cpu).unwrap()]
    }

    /// Every layer of three pictures, by a number of threads.
    fn layers(graph: &Graph, threads: usize) -> Vec<Tensor> {
        let x = random(&[&[3], graph.shape(0)].concat(), 9).to_dtype(DType::F32).unwrap();
        let taps: Vec<usize> = (1..=graph.layers().len()).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| graph.forward(&x, &taps).unwrap())
    }

    #[test]
    fn bf16_is_f32_within_two_percent() {
        for graph in networks() {
            let pairs = layers(&graph, 2).into_iter().zip(layers(&graph.with_precision(Precision::Bf16).unwrap(), 2));
            for (node, (wanted, got)) in pairs.enumerate() {
                let [wanted, got] = [wanted, got].map(|t| to_vec::<f32>(&t).unwrap());
                let largest = wanted.iter().fold(0f32, |a, b| a.max(b.abs()));
                let off = wanted.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest;
                assert!(off < 0.02, "{} layer {}: {off}", graph.name(), node + 1);
                assert!(off > 0.0, "{} layer {} is f32", graph.name(), node + 1);
            }
        }
    }

    #[test]
    fn threads_change_no_byte() {
        for graph in networks().map(|g| g.with_precision(Precision::Bf16).unwrap()) {
            let [one, two] = [1, 2].map(|threads| layers(&graph, threads));
            let bytes = |t: &Tensor| to_vec::<f32>(t).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(one.iter().zip(&two).all(|(a, b)| bytes(a) == bytes(b)), "{}", graph.name());
        }
    }

    #[test]
    fn maps_are_bf16_and_vectors_f32() {
        let graph = small().with_precision(Precision::Bf16).unwrap();
        let short = |t: &Tensor| to_vec::<f32>(t).unwrap().iter().all(|v| v.to_bits().trailing_zeros() >= 16);
        let layers = layers(&graph, 1);
        assert!(layers[..4].iter().all(short) && !short(&layers[4]));
        assert_eq!(graph.digest(), small().digest());
    }

    #[test]
    fn a_sum_run_with_its_convolution_goes_on_from_any_layer() {
        let graph = small().with_precision(Precision::Bf16).unwrap();
        let x = random(&[2, 2, 6, 6], 9).to_dtype(DType::F32).unwrap();
        let out = graph.forward(&x, &[3, 5]).unwrap();
        let on = graph.forward_from(3, &out[0], &[5]).unwrap();
        assert_eq!(to_vec::<f32>(&on[0]).unwrap(), to_vec::<f32>(&out[1]).unwrap());
        let message = graph.pull_back(5, &x, |_, z| Ok(z.clone())).unwrap_err().to_string();
        assert!(message.contains("bf16"), "{message}");
    }
}
