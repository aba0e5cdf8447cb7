//! Number by number.

use candle_core::{Result, Tensor};

use crate::ops::activation::{relu, sigmoid, silu};

/// A function of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
    /// `a / b`.
    Div,
    /// `a^b`, for a > 0.
    Power,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// 1 where they are equal, else 0.
    Equal,
    /// 1 where a < b, else 0.
    Less,
    /// a where a >= 0, elsewhere `a b`: `PRelu` with slopes b.
    Slope,
}

/// A function of one number. What stands beside a name is a setting of ONNX's operator of that name.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the variants are functions by their names")]
pub enum Unary {
    Negative,
    Size,
    Sign,
    Root,
    Exp,
    Log,
    Inverse,
    Erf,
    Sine,
    Cosine,
    Tanh,
    Sigmoid,
    /// `x sigmoid(x)`.
    Silu,
    Softplus,
    Softsign,
    Mish,
    /// `max(x, 0)`, with gradient 0 at 0.
    Relu,
    /// Slope below zero.
    LeakyRelu(f32),
    /// `alpha (e^x - 1)` below zero.
    Elu(f32),
    /// `gamma` times the ELU of `alpha`: alpha, gamma.
    Selu(f32, f32),
    /// `max(0, x) + min(0, alpha (e^(x / alpha) - 1))`.
    Celu(f32),
    /// `alpha x + beta` between 0 and 1.
    HardSigmoid(f32, f32),
    HardSwish,
    /// GELU by its approximation with tanh.
    GeluTanh,
    /// Between two bounds, with gradient 0 outside.
    Clip(f32, f32),
    /// `x^p`.
    Power(f32),
    /// `a x + b`.
    Linear(f32, f32),
}

impl Binary {
    pub(super) fn run(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        match self {
            Self::Add => a.broadcast_add(b),
            Self::Sub => a.broadcast_sub(b),
            Self::Mul => a.broadcast_mul(b),
            Self::Div => a.broadcast_div(b),
            Self::Power => a.broadcast_pow(b),
            Self::Min => a.broadcast_minimum(b),
            Self::Max => a.broadcast_maximum(b),
            Self::Equal => a.broadcast_eq(b)?.to_dtype(a.dtype()),
            Self::Less => a.broadcast_lt(b)?.to_dtype(a.dtype()),
            Self::Slope => relu(a)?.broadcast_sub(&relu(&a.neg()?)?.broadcast_mul(b)?),
        }
    }
}

impl Unary {
    pub(super) fn run(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Negative => x.neg(),
            // The gradient at 0 is 0; candle's own has 1 there.
            Self::Size => x.mul(&x.sign()?),
            Self::Sign => x.sign(),
            Self::Root => x.sqrt(),
            Self::Exp => x.exp(),
            Self::Log => x.log(),
            Self::Inverse => x.recip(),
            Self::Erf => x.erf(),
            Self::Sine => x.sin(),
            Self::Cosine => x.cos(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => silu(x),
            Self::Softplus => softplus(x),
            Self::Softsign => x.div(&(x.abs()? + 1.0)?),
            Self::Mish => x.mul(&softplus(x)?.tanh()?),
            Self::Relu => relu(x),
            Self::LeakyRelu(slope) => relu(x)? - (relu(&x.neg()?)? * f64::from(slope))?,
            Self::Elu(alpha) => elu(x, f64::from(alpha)),
            Self::Selu(alpha, gamma) => elu(x, f64::from(alpha))? * f64::from(gamma),
            Self::Celu(alpha) => elu(&(x / f64::from(alpha))?, 1.0)? * f64::from(alpha),
            Self::HardSigmoid(alpha, beta) => unit(&x.affine(f64::from(alpha), f64::from(beta))?),
            Self::HardSwish => x.mul(&unit(&x.affine(1.0 / 6.0, 0.5)?)?),
            Self::GeluTanh => {
                let cubic = (x + (x.sqr()?.mul(x)? * 0.044_715)?)?;
                x.mul(&((cubic * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?.affine(0.5, 0.5)?))
            }
            Self::Clip(low, high) => x.clamp(low, high),
            Self::Power(2.0) => x.sqr(),
            Self::Power(power) => x.powf(f64::from(power)),
            Self::Linear(scale, shift) => x.affine(f64::from(scale), f64::from(shift)),
        }
    }
}

/// `log(1 + e^x)`, without overflow.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let size = x.abs()?;
    ((x + &size)? * 0.5)? + (size.neg()?.exp()? + 1.0)?.log()?
}

fn elu(x: &Tensor, alpha: f64) -> Result<Tensor> {
    let below = (relu(&x.neg()?)?.neg()?.exp()? - 1.0)?;
    relu(x)? + (below * alpha)?
}

fn unit(x: &Tensor) -> Result<Tensor> {
    x.clamp(0.0, 1.0)
}
