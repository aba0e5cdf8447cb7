use candle_core::{DType, Device};

use super::*;
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::model::graph::GraphBuilder;
use crate::ops::check::random;
use crate::ops::norm::BatchNorm;
use crate::ops::{Conv2d, Padding};

/// Collects what a network is made of.
#[derive(Default)]
struct Maker {
    tensors: BTreeMap<String, Tensor>,
    folds: Vec<Fold>,
}

impl Maker {
    fn tensor(&mut self, name: String, shape: &[usize]) -> Tensor {
        let seed = self.tensors.len() as u64 + 1;
        let values = random(shape, seed).to_dtype(DType::F32).unwrap();
        self.tensors.entry(name).or_insert(values).clone()
    }

    fn normed(&mut self, name: &str, shape: &[usize], conv: Conv2d) -> Op {
        // A file may have the weights in another shape.
        let weight = self.tensor(format!("{name}.weight"), &[shape[0], shape[1], 9]).reshape(shape).unwrap();
        self.norm(&format!("{name}_norm"), Some(name), &weight, conv)
    }

    fn norm(&mut self, norm: &str, conv: Option<&str>, weight: &Tensor, geometry: Conv2d) -> Op {
        let channels = weight.dims()[..1].to_vec();
        let mut part = |part: &str| self.tensor(format!("{norm}.{part}"), &channels);
        let (scale, bias, mean) = (part("weight"), part("bias"), part("running_mean"));
        let variance = part("running_var").abs().unwrap();
        self.tensors.insert(format!("{norm}.running_var"), variance.clone());
        self.folds.push(Fold { conv: conv.map(str::to_owned), norm: norm.to_owned(), epsilon: 1e-3 });
        let norm = BatchNorm { weight: scale, bias, mean, variance, epsilon: 1e-3 };
        let (weight, bias) = norm.fold(weight).unwrap();
        Op::Conv2d(geometry, weight, bias)
    }

    fn affine(&mut self, name: &str, shape: &[usize]) -> (Tensor, Tensor) {
        (self.tensor(format!("{name}.weight"), shape), self.tensor(format!("{name}.bias"), &shape[..1]))
    }
}

/// A stem, a norm by itself, a residual block, a strided convolution with a bias and GELU, logits.
fn draft() -> Draft {
    let (mut maker, mut g) = (Maker::default(), GraphBuilder::new([2, 6, 6]));
    let conv = |activation| Conv2d { activation, padding: Padding::Same, ..Conv2d::default() };
    let a = g.add("a", maker.normed("a", &[4, 2, 3, 3], conv(Activation::Relu)), &[0]);
    let b = g.add("b", maker.normed("b", &[4, 4, 3, 3], conv(Activation::Relu6)), &[a]);
    let c = g.add("c", maker.normed("c", &[4, 4, 3, 3], conv(Activation::None)), &[b]);
    // A norm without a convolution, as some networks have on a shortcut.
    let ones = Tensor::ones((4, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let short = g.add("short", maker.norm("short", None, &ones, Conv2d { groups: 4, ..Conv2d::default() }), &[a]);
    let sum = g.add("sum", Op::Add(Activation::Relu), &[c, short]);
    let (weight, bias) = maker.affine("d", &[5, 4, 3, 3]);
    let d = g.add("d", Op::Conv2d(Conv2d { stride: 2, ..conv(Activation::Gelu) }, weight, bias), &[sum]);
    let mean = g.add("mean", Op::GlobalMean, &[d]);
    let (weight, bias) = maker.affine("e", &[3, 5]);
    g.add("logits", Op::Linear(Activation::None, weight, bias), &[mean]);
    finish(g, maker)
}

fn finish(g: GraphBuilder, maker: Maker) -> Draft {
    let preprocess = Preprocess { size: 6, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };
    let graph = g.finish("small", preprocess, Vec::new(), &Device::Cpu).unwrap();
    Draft { graph, tensors: maker.tensors, folds: maker.folds }
}

fn double(draft: &Draft) -> Parameters {
    let wide = |(name, t): (&String, &Tensor)| (name.clone(), t.to_dtype(DType::F64).unwrap());
    Parameters(draft.tensors.iter().map(wide).collect())
}

/// A transformer of one block on patches that are normalised first.
fn transformer() -> Draft {
    let (mut maker, mut g) = (Maker::default(), GraphBuilder::new([2, 8, 8]));
    let (weight, bias) = maker.affine("patches", &[4, 2, 4, 4]);
    let patches = g.add("patches", Op::Conv2d(Conv2d { stride: 4, ..Conv2d::default() }, weight, bias), &[0]);
    let (weight, bias) = maker.affine("channels", &[4]);
    let map = g.add("channels", Op::ChannelNorm { weight, bias, epsilon: 1e-6 }, &[patches]);
    let [class, position] = [("class", 1), ("position", 5)].map(|(n, k)| maker.tensor(n.into(), &[1, k, 4]));
    let tokens = g.add("tokens", Op::Tokens { class, position }, &[map]);
    let norm = |maker: &mut Maker, g: &mut GraphBuilder, name: &str, from: usize| {
        let (weight, bias) = maker.affine(name, &[4]);
        g.add(name, Op::LayerNorm { weight, bias, epsilon: 1e-6 }, &[from])
    };
    let linear = |maker: &mut Maker, g: &mut GraphBuilder, (name, f): (&str, Activation), shape: [usize; 2], from| {
        let (weight, bias) = maker.affine(name, &shape);
        g.add(name, Op::Linear(f, weight, bias), &[from])
    };
    let (m, plain) = (&mut maker, Activation::None);
    let normed = norm(m, &mut g, "norm1", tokens);
    let qkv = linear(m, &mut g, ("qkv", plain), [12, 4], normed);
    let heads = g.add("heads", Op::Attention { heads: 2 }, &[qkv]);
    let projected = linear(m, &mut g, ("proj", plain), [4, 4], heads);
    let attended = g.add("attended", Op::Add(plain), &[tokens, projected]);
    let normed = norm(m, &mut g, "norm2", attended);
    let wide = linear(m, &mut g, ("fc1", Activation::Gelu), [6, 4], normed);
    let narrow = linear(m, &mut g, ("fc2", plain), [4, 6], wide);
    let block = g.add("block", Op::Add(plain), &[attended, narrow]);
    let normed = norm(m, &mut g, "norm", block);
    let token = g.add("token", Op::Token(0), &[normed]);
    linear(m, &mut g, ("logits", plain), [3, 4], token);
    finish(g, maker)
}

/// Checks the gradient of every number of every parameter, of which there are so many.
fn agrees_with_central_differences(draft: &Draft, count: usize) {
    let (network, parameters) = (Network::new(draft).unwrap(), double(draft));
    let x = random(&[&[3], network.graph.input_shape().as_slice()].concat(), 50);
    let (logits, tape) = network.forward(&parameters, &x).unwrap();
    let slope = random(logits.dims(), 51);
    let parts = network.backward(&parameters, tape, slope.clone()).unwrap();
    assert_eq!(parts.len(), count);
    for (name, part) in parts {
        let got = part.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, got) in got.into_iter().enumerate() {
            let at = |delta: f64| {
                let mut moved = parameters.clone();
                moved.update(&name, |j, old| if i == j { old + delta } else { old }).unwrap();
                let logits = network.forward(&moved, &x).unwrap().0;
                logits.mul(&slope).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
            };
            let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((got - wanted).abs() < 1e-6 * (1.0 + wanted.abs()), "{name} {i}: {got} {wanted}");
        }
    }
}

#[test]
fn gradients_of_all_parameters_are_those_of_central_differences() {
    let convolutional = draft();
    // Everything but four norms' running averages.
    agrees_with_central_differences(&convolutional, convolutional.tensors.len() - 8);
    let transformer = transformer();
    agrees_with_central_differences(&transformer, transformer.tensors.len());
}

#[test]
fn running_averages_move_by_a_tenth_towards_the_unbiased_moments() {
    let draft = draft();
    let (network, mut parameters, x) = (Network::new(&draft).unwrap(), double(&draft), random(&[3, 2, 6, 6], 50));
    let before = parameters.clone();
    let (_, tape) = network.forward(&parameters, &x).unwrap();
    let moments = tape.moments();
    network.average(&mut parameters, &moments).unwrap();
    let value = |p: &Parameters, name: &str| p.tensor(name).unwrap().to_vec1::<f64>().unwrap()[2];
    for (part, wanted) in
        [("running_mean", moments[&1].mean[2]), ("running_var", moments[&1].variance[2] * 108.0 / 107.0)]
    {
        let name = format!("a_norm.{part}");
        let (old, new) = (value(&before, &name), value(&parameters, &name));
        assert!((new - (0.9 * old + 0.1 * wanted)).abs() < 1e-12, "{name}: {new}");
    }
}

#[test]
fn tensors_that_no_layer_trains_are_refused() {
    let mut draft = transformer();
    draft.tensors.insert("ls1.gamma".into(), random(&[4], 1));
    let message = Network::new(&draft).err().unwrap().to_string();
    assert!(message.contains("`ls1.gamma`") && message.contains("LayerScale"), "{message}");
}
