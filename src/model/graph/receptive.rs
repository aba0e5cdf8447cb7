//! What part of the picture a cell of a layer sees: its receptive field, by the sizes of the windows on the way to it.

use super::{Graph, Op, TensorOp};
use crate::model::graph::tensor::Kind;
use crate::ops::{Conv2d, Padding};

/// The receptive fields of a map's cells along one axis: cell i sees the pixels `first + i step ..= last + i step` of the
/// network's input, as if the picture went on beyond its edge. Gaps of dilated windows count as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    first: i64,
    last: i64,
    step: i64,
}

/// Down and across; `None` where a cell sees the whole picture, or it is not known what it sees.
type Fields = Option<[Field; 2]>;

impl Field {
    const PIXEL: Self = Self { first: 0, last: 0, step: 1 };

    /// Behind windows of `size` cells that start `before` cells outside and are `stride` apart.
    fn windowed(self, size: usize, stride: usize, before: usize) -> Self {
        let [size, stride, before] = [size, stride, before].map(|n| n as i64);
        Self {
            first: self.first - before * self.step,
            last: self.last + (size - 1 - before) * self.step,
            step: self.step * stride,
        }
    }

    /// Of a sum of both; `None` where their cells do not lie on each other.
    fn union(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.min(other.first), self.last.max(other.last));
        (self.step == other.step).then_some(Self { first, last, step: self.step })
    }

    /// The share of cell i's field that lies in a picture of `size` pixels.
    fn inside(self, i: usize, size: usize) -> f32 {
        let (first, last) = (self.first + i as i64 * self.step, self.last + i as i64 * self.step);
        let seen = (last.min(size as i64 - 1) - first.max(0) + 1).max(0);
        seen as f32 / (last - first + 1) as f32
    }
}

impl Graph {
    /// For every cell of a node's map, `[height * width]`, the share of its receptive field that lies in the picture, in
    /// [0, 1]; the rest is padding. All ones where a cell sees the whole picture, as behind attention or a global mean, and
    /// where operations in between are not convolutions, poolings or pointwise. Our definition.
    pub fn receptive_shares(&self, node: usize) -> Vec<f32> {
        let [_, height, width] = self.layout(node).map_shape();
        let [_, rows, columns] = self.input_shape();
        let Some([down, across]) = self.fields(node) else { return vec![1.0; height * width] };
        let share = |i: usize| down.inside(i / width, rows) * across.inside(i % width, columns);
        (0..height * width).map(share).collect()
    }

    /// Where the cells of a node's map look, down and across: the centre of the first cell's receptive field and the step to the
    /// next, in shares of the input's sides; `None` where a cell sees the whole picture, or it is not known what it sees.
    pub fn receptive_centres(&self, node: usize) -> Option<[(f64, f64); 2]> {
        let [_, rows, columns] = self.input_shape();
        let fields = self.fields(node)?;
        let of = |field: Field, size: usize| {
            let centre = (field.first + field.last) as f64 / 2.0 + 0.5;
            (centre / size as f64, field.step as f64 / size as f64)
        };
        Some([of(fields[0], rows), of(fields[1], columns)])
    }

    fn fields(&self, node: usize) -> Fields {
        let mut fields: Vec<Fields> = vec![Some([Field::PIXEL; 2])];
        for i in 1..=node {
            let of_inputs: Option<Vec<[Field; 2]>> = self.inputs(i).iter().map(|j| fields[*j]).collect();
            fields.push(of_inputs.and_then(|of_inputs| self.behind(i, &of_inputs)));
        }
        fields[node]
    }

    /// The fields behind a node, from those of its inputs.
    fn behind(&self, node: usize, inputs: &[[Field; 2]]) -> Fields {
        let (first, rest) = inputs.split_first()?;
        match self.op(node) {
            Op::Conv2d(conv, weight, _) => {
                let (window, before) = self.window(node, conv, [weight.dim(2).ok()?, weight.dim(3).ok()?]);
                Some([0, 1].map(|axis| first[axis].windowed(window[axis], conv.stride, before[axis])))
            }
            Op::Pool2d(pool) => {
                Some([0, 1].map(|axis| first[axis].windowed(pool.kernel[axis], pool.stride, pool.padding)))
            }
            Op::Activation(_) | Op::ChannelNorm { .. } | Op::Tensor(TensorOp { kind: Kind::Unary(_), .. }) => {
                Some(*first)
            }
            Op::Add(_) | Op::Concat | Op::Tensor(TensorOp { kind: Kind::Binary(_), .. }) => {
                let join = |[a, b]: [Field; 2], other: &[Field; 2]| Some([a.union(other[0])?, b.union(other[1])?]);
                rest.iter().try_fold(*first, join)
            }
            _ => None,
        }
    }

    /// How far a convolution's windows reach, down and across, and how far the first one starts outside.
    fn window(&self, node: usize, conv: &Conv2d, kernel: [usize; 2]) -> ([usize; 2], [usize; 2]) {
        let window = kernel.map(|k| (k - 1) * conv.dilation + 1);
        let before = match conv.padding {
            Padding::Explicit([above, _, left, _]) => [above, left],
            Padding::Same => [0, 1].map(|axis| {
                let sizes = [self.inputs(node)[0], node].map(|n| self.shape(n)[axis + 1]);
                ((sizes[1] - 1) * conv.stride + window[axis]).saturating_sub(sizes[0]) / 2
            }),
        };
        (window, before)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::dataset::preprocess::{Filter, Preprocess};
    use crate::model::GraphBuilder;
    use crate::model::zoo;
    use crate::ops::Activation;
    use crate::ops::pool::{Pool2d, Reduce};
    use crate::seed::Seed;

    /// Two ways of unlike reach, joined; every weight is one.
    fn graph(side: usize) -> Graph {
        let ones = |k: usize| Tensor::ones((1, 1, k, k), DType::F32, &Device::Cpu).unwrap();
        let bias = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let mut g = GraphBuilder::new([1, side, side]);
        let same = Conv2d { stride: 2, padding: Padding::Same, ..Conv2d::default() };
        let a = g.add("a", Op::Conv2d(same, ones(3), bias.clone()), &[0]);
        let wide = Conv2d { dilation: 2, padding: Padding::Explicit([2; 4]), ..Conv2d::default() };
        let b = g.add("b", Op::Conv2d(wide, ones(3), bias), &[a]);
        let c = g.add("c", Op::Add(Activation::None), &[a, b]);
        let pool = Pool2d { reduce: Reduce::Max, kernel: [3, 2], stride: 2, padding: 1, ceil: false };
        g.add("d", Op::Pool2d(pool), &[c]);
        let preprocess = Preprocess { size: side, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
        g.finish("ones", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }

    /// The area of the rectangle around the pixels that every cell of the last layer answers to, found by lighting them one
    /// by one.
    fn seen(graph: &Graph) -> Vec<usize> {
        let [_, side, _] = graph.input_shape();
        let node = graph.layers().len();
        let pixels = Tensor::eye(side * side, DType::F32, &Device::Cpu).unwrap();
        let x = pixels.reshape((side * side, 1, side, side)).unwrap();
        let out = graph.forward(&x, &[node]).unwrap().remove(0).flatten_from(1).unwrap();
        let rows = out.to_vec2::<f32>().unwrap();
        let extent = |places: Vec<usize>| places.iter().max().unwrap() - places.iter().min().unwrap() + 1;
        let of_cell = |cell: usize| {
            let lit = || (0..rows.len()).filter(|pixel| rows[*pixel][cell] > 0.0);
            extent(lit().map(|p| p / side).collect()) * extent(lit().map(|p| p % side).collect())
        };
        (0..rows[0].len()).map(of_cell).collect()
    }

    #[test]
    fn cells_look_where_their_windows_are() {
        // Windows of 3 with stride 2 and SAME padding are padded below and right alone: the first one's middle is pixel 1,
        // half a pixel further than the middle of the cell's own two pixels.
        let graph = zoo::random("efficientnet_lite0", Seed(1)).unwrap();
        let [down, across] = graph.receptive_centres(graph.layer("stem").unwrap()).unwrap();
        let cell = 2.0 / 224.0;
        assert_eq!(down, across);
        assert!((down.1 - cell).abs() < 1e-12 && (down.0 - 1.5 / 224.0).abs() < 1e-12, "{down:?}");
        let attentive = zoo::random("vit_tiny_patch16", Seed(1)).unwrap();
        assert_eq!(attentive.receptive_centres(attentive.layer("blocks.3").unwrap()), None);
        let [down, _] = attentive.receptive_centres(attentive.layer("patch_embed").unwrap()).unwrap();
        assert!((down.0 - 8.0 / 224.0).abs() < 1e-12 && (down.1 - 16.0 / 224.0).abs() < 1e-12);
    }

    #[test]
    fn shares_are_those_of_pixels_that_a_cell_answers_to() {
        // In the middle of a large picture nothing is cut off. The stride is 4, so that these cells lie alike.
        let whole = seen(&graph(48)).into_iter().max().unwrap();
        let small = graph(16);
        let shares = small.receptive_shares(4);
        assert_eq!(shares.len(), seen(&small).len());
        for (share, seen) in shares.iter().zip(seen(&small)) {
            assert!((f64::from(*share) - seen as f64 / whole as f64).abs() < 1e-6, "{share} {seen} of {whole}");
        }
        assert!(shares.iter().any(|s| *s < 0.5));
    }

    #[test]
    fn by_hand_and_of_known_networks() {
        let small = graph(6);
        // SAME with stride 2 on an even side pads below and right alone.
        assert_eq!(small.fields(1), Some([Field { first: 0, last: 2, step: 2 }; 2]));
        assert!(small.receptive_shares(1)[..2].iter().all(|s| *s == 1.0));
        assert!((small.receptive_shares(1)[8] - 4.0 / 9.0).abs() < 1e-6);
        // Araujo et al. (2019) count 435 pixels for ResNet-18 and 11 for the stem with its pooling.
        let resnet = zoo::random("resnet18", Seed(1)).unwrap();
        let size = |name: &str| {
            let [down, _] = resnet.fields(resnet.layer(name).unwrap()).unwrap();
            down.last - down.first + 1
        };
        assert_eq!((size("maxpool"), size("layer4.1")), (11, 435));
    }

    #[test]
    fn behind_attention_a_cell_sees_everything() {
        let vit = zoo::random("vit_small_patch14", Seed(1)).unwrap();
        assert!(vit.receptive_shares(vit.layer("blocks.3").unwrap()).iter().all(|s| *s == 1.0));
    }
}
