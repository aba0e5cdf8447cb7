//! Help for tests: gradients against central differences in f64.

use candle_core::{Device, Result, Tensor, Var};
use rand::RngExt;

/// A tensor of values in (-1, 1), f64.
pub(crate) fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = crate::seed::Seed(seed).stream("test tensor");
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random::<f64>() * 2.0 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Checks the gradient of a fixed random projection of `f(x)` at every entry of `x`.
pub(crate) fn gradient(x: &Tensor, tolerance: f64, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let y = f(x).unwrap();
    let projection = random(y.dims(), 99);
    let value = |x: &Tensor| f(x).unwrap().mul(&projection).unwrap().sum_all().unwrap();
    let var = Var::from_tensor(x).unwrap();
    let grads = value(&var).backward().unwrap();
    let got =
        grads.get(&var).expect("the operation passes a gradient").flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let base = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let h = 1e-5;
    for i in 0..base.len() {
        let at = |delta: f64| {
            let mut moved = base.clone();
            moved[i] += delta;
            let moved = Tensor::from_vec(moved, x.dims(), &Device::Cpu).unwrap();
            value(&moved).to_scalar::<f64>().unwrap()
        };
        let wanted = (at(h) - at(-h)) / (2.0 * h);
        assert!((got[i] - wanted).abs() <= tolerance * (1.0 + wanted.abs()), "entry {i}: {} {wanted}", got[i]);
    }
}

/// Largest absolute difference.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap()
}
