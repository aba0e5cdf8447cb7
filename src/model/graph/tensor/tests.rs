use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::ops::check::{distance, gradient, random};

fn of_input(kind: Kind) -> TensorOp {
    TensorOp::of_inputs(kind, 1)
}

/// With the second argument a constant.
fn with(kind: Kind, shape: &[usize]) -> TensorOp {
    let constant = (random(&[&[1], shape].concat(), 5) + 1.5).unwrap();
    TensorOp { kind, constants: vec![None, Some(constant)] }
}

fn checked(op: &TensorOp, x: &Tensor) {
    let y = op.run(&[x]).unwrap();
    let constants = op.constants.iter().flatten().map(|c| c.dims()[1..].to_vec()).collect::<Vec<_>>();
    let shapes: Vec<&[usize]> = std::iter::once(&x.dims()[1..]).chain(constants.iter().map(Vec::as_slice)).collect();
    assert_eq!(op.shape(&shapes).unwrap(), y.dims()[1..], "{}", op.describe());
    assert!(y.is_contiguous(), "{}", op.describe());
    gradient(x, 1e-6, |x| op.run(&[x]));
}

#[test]
fn gradients_of_rearrangements_are_those_of_central_differences() {
    let x = random(&[2, 3, 4, 2], 6);
    for kind in [
        Kind::Permute(vec![2, 0, 1]),
        Kind::Reshape(vec![6, 4]),
        Kind::Narrow { axis: 1, start: 1, length: 2 },
        Kind::Select { axis: 1, places: vec![3, 0, 0, 2] },
        Kind::Pad { axis: 2, border: [1, 2], value: 0.0 },
        Kind::Pad { axis: 0, border: [0, 1], value: -3.0 },
        Kind::Spread { axis: 1, step: 3 },
        Kind::Reduce(Reduction::Mean, vec![1, 2]),
        Kind::Reduce(Reduction::Sum, vec![0]),
        Kind::Reduce(Reduction::Max, vec![0, 2]),
        Kind::Reduce(Reduction::Min, vec![1]),
        Kind::Reduce(Reduction::L1, vec![1]),
        Kind::Reduce(Reduction::L2, vec![1, 2]),
        Kind::Reduce(Reduction::Squares, vec![2]),
        Kind::LogSoftmax,
    ] {
        checked(&of_input(kind), &x);
    }
    checked(&of_input(Kind::Expand(vec![3, 4, 2])), &random(&[2, 3, 1, 2], 2));
}

#[test]
fn gradients_number_by_number_are_those_of_central_differences() {
    let x = (random(&[2, 3, 4], 1) * 3.0).unwrap();
    let positive = (random(&[2, 3, 4], 1) + 1.5).unwrap();
    for f in [
        Unary::Negative,
        Unary::Size,
        Unary::Exp,
        Unary::Erf,
        Unary::Sine,
        Unary::Cosine,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Mish,
        Unary::Relu,
        Unary::LeakyRelu(0.1),
        Unary::Elu(0.7),
        Unary::Selu(1.67, 1.05),
        Unary::Celu(1.3),
        Unary::HardSigmoid(0.2, 0.5),
        Unary::HardSwish,
        Unary::GeluTanh,
        Unary::Clip(-1.0, 0.5),
        Unary::Power(2.0),
        Unary::Power(3.0),
        Unary::Linear(2.0, -1.0),
    ] {
        checked(&of_input(Kind::Unary(f)), &x);
    }
    for f in [Unary::Root, Unary::Log, Unary::Inverse, Unary::Power(-0.5)] {
        checked(&of_input(Kind::Unary(f)), &positive);
    }
    for f in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Min, Binary::Max, Binary::Slope] {
        checked(&with(Kind::Binary(f), &[3, 1]), &x);
    }
    checked(&with(Kind::Binary(Binary::Power), &[1, 4]), &positive);
}

#[test]
fn gradients_of_products_are_those_of_central_differences() {
    let x = random(&[2, 3, 4, 2], 1);
    checked(&with(Kind::MatMul, &[1, 2, 5]), &x);
    checked(&with(Kind::Along(1), &[3, 4]), &x);
    checked(&with(Kind::Concat(1), &[3, 1, 2]), &x);
    let left = TensorOp { kind: Kind::MatMul, constants: vec![Some(random(&[1, 3, 5, 4], 3)), None] };
    gradient(&x, 1e-6, |x| left.run(&[x]));
    let both = TensorOp::of_inputs(Kind::MatMul, 2);
    gradient(&x, 1e-6, |x| both.run(&[x, &x.transpose(2, 3)?]));
    let condition = random(&[1, 3, 1, 2], 4).gt(0.0).unwrap().to_dtype(DType::F64).unwrap();
    let choice = TensorOp { kind: Kind::Where, constants: vec![Some(condition), None, None] };
    gradient(&x, 1e-6, |x| choice.run(&[x, &x.sqr()?]));
}

#[test]
fn values_are_those_of_the_definitions() {
    let x = Tensor::new(&[[1f64, -2.0, 3.0]], &Device::Cpu).unwrap();
    let run = |kind| of_input(kind).run(&[&x]).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_eq!(run(Kind::Spread { axis: 0, step: 2 }), [1.0, 0.0, -2.0, 0.0, 3.0]);
    assert_eq!(run(Kind::Pad { axis: 0, border: [1, 0], value: 7.0 }), [7.0, 1.0, -2.0, 3.0]);
    assert_eq!(run(Kind::Select { axis: 0, places: vec![2, 2] }), [3.0, 3.0]);
    assert_eq!(run(Kind::Unary(Unary::Clip(-1.0, 2.0))), [1.0, -1.0, 2.0]);
    assert_eq!(run(Kind::Reduce(Reduction::L1, vec![0])), [6.0]);
    assert!((run(Kind::Unary(Unary::Softplus))[1] - (1.0 + (-2f64).exp()).ln()).abs() < 1e-12);
    let large = Tensor::new(&[[1000f64, -1000.0]], &Device::Cpu).unwrap();
    let plus = of_input(Kind::Unary(Unary::Softplus)).run(&[&large]).unwrap().to_vec2::<f64>().unwrap();
    assert_eq!(plus, [[1000.0, 0.0]]);
}

#[test]
fn what_does_not_fit_is_refused_before_it_runs() {
    for (kind, shapes) in [
        (Kind::Permute(vec![0, 0]), vec![&[2usize, 3][..]]),
        (Kind::Reshape(vec![7]), vec![&[2, 3]]),
        (Kind::Narrow { axis: 2, start: 0, length: 1 }, vec![&[2, 3]]),
        (Kind::Narrow { axis: 1, start: 2, length: usize::MAX }, vec![&[2, 3]]),
        (Kind::Select { axis: 0, places: vec![2] }, vec![&[2, 3]]),
        (Kind::Pad { axis: 0, border: [1 << 40, 1], value: 0.0 }, vec![&[2, 3]]),
        (Kind::Expand(vec![1 << 40, 3]), vec![&[1, 3]]),
        (Kind::Concat(0), vec![&[2, 3], &[2, 4]]),
        (Kind::MatMul, vec![&[2, 3], &[2, 3]]),
        (Kind::Binary(Binary::Add), vec![&[2, 3], &[2, 4]]),
        (Kind::Reduce(Reduction::Max, vec![1]), vec![&[2, 0]]),
        (Kind::Spread { axis: 0, step: 0 }, vec![&[2, 3]]),
        (Kind::Along(0), vec![&[2, 3], &[5, 3]]),
    ] {
        let op = TensorOp::of_inputs(kind, shapes.len());
        assert!(op.shape(&shapes).is_err(), "{}", op.describe());
    }
}

/// Every short way back against candle's graph.
#[test]
fn the_short_way_back_is_the_long_one() {
    let (x, z) = (random(&[2, 3, 4, 5], 1), random(&[2, 3, 5, 4], 2));
    let constant = |kind, shape: &[usize]| TensorOp { kind, constants: vec![None, Some(random(shape, 3))] };
    let first = |kind, shape: &[usize]| TensorOp { kind, constants: vec![Some(random(shape, 3)), None] };
    for op in [
        of_input(Kind::Permute(vec![2, 0, 1])),
        of_input(Kind::Reshape(vec![12, 5])),
        of_input(Kind::Narrow { axis: 2, start: 1, length: 3 }),
        of_input(Kind::Unary(Unary::Linear(3.0, 1.0))),
        constant(Kind::Binary(Binary::Add), &[1, 3, 1, 5]),
        constant(Kind::Binary(Binary::Sub), &[1, 3, 1, 5]),
        constant(Kind::Binary(Binary::Mul), &[1, 3, 1, 5]),
        first(Kind::Binary(Binary::Mul), &[1, 3, 1, 5]),
        constant(Kind::MatMul, &[1, 3, 5, 2]),
        first(Kind::MatMul, &[1, 3, 2, 4]),
    ] {
        compared(&op, &[&x]);
    }
    compared(&TensorOp::of_inputs(Kind::MatMul, 2), &[&x, &z]);
    compared(&TensorOp::of_inputs(Kind::Binary(Binary::Mul), 2), &[&x, &x.sqr().unwrap()]);
    let wide = TensorOp::of_inputs(Kind::Binary(Binary::Mul), 2);
    let narrow = random(&[2, 3, 1, 1], 4);
    assert!(wide.pull_back(&[&x, &narrow], &x).unwrap().is_none(), "what is broadcast goes the long way");
}

fn compared(op: &TensorOp, inputs: &[&Tensor]) {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let y = op.run(&vars.iter().map(Var::as_tensor).collect::<Vec<_>>()).unwrap();
    let slope = random(y.dims(), 9);
    let wanted = y.mul(&slope).unwrap().sum_all().unwrap().backward().unwrap();
    let got = op.pull_back(inputs, &slope).unwrap().expect("it has a short way back");
    for (var, got) in vars.iter().zip(got) {
        assert!(distance(wanted.get(var).unwrap(), &got) < 1e-12, "{}", op.describe());
    }
}
