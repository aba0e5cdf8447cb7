//! Forms of a layer's weights that kernels read: made at first use, kept with the layer.

use std::any::Any;
use std::sync::OnceLock;

use super::tile::Operand;

/// One form.
#[derive(Default)]
pub(crate) struct Form(OnceLock<Box<dyn Any + Send + Sync>>);

impl Form {
    /// The operands, made where there are none.
    pub(crate) fn get<O: Operand>(&self, make: impl FnOnce() -> Vec<O>) -> candle_core::Result<&[O]> {
        let form = self.0.get_or_init(|| Box::new(make())).downcast_ref::<Vec<O>>();
        form.map(Vec::as_slice).ok_or_else(|| candle_core::Error::Msg("a layer's weights changed their type".into()))
    }
}

/// The forms of one layer's weights. They are of one type and do not change; weights in training have none.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Whether forms last: one that costs more than a single use saves is made only then.
    pub(crate) kept: bool,
    /// For the result.
    pub(crate) forward: Form,
    /// For the gradient of the input.
    pub(crate) backward: Form,
    /// For the result of few positions.
    pub(crate) forward_across: Form,
    /// For the gradient of few positions.
    pub(crate) backward_across: Form,
    /// For the result by Winograd's algorithm.
    pub(crate) winograd_forward: Form,
    /// For the gradient by Winograd's algorithm.
    pub(crate) winograd_backward: Form,
}

impl Prepared {
    /// For a layer whose weights stay.
    pub(crate) fn kept() -> Self {
        Self { kept: true, ..Self::default() }
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared")
    }
}
