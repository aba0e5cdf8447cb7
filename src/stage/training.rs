//! How the training of a network went, for people to see.

use crate::model::train::{Curve, Epoch};
use crate::report::Trace;

/// A curve's numbers by epoch.
pub fn panels(curve: &Curve) -> Vec<Trace> {
    let panel = |label: &str, of: fn(&Epoch) -> f64| Trace {
        label: label.to_owned(),
        values: curve.epochs.iter().map(|epoch| of(epoch) as f32).collect(),
    };
    vec![
        panel("loss", |e| e.loss),
        panel("held-out loss", |e| e.held_out_loss),
        panel("held-out accuracy", |e| e.accuracy),
        panel("learning rate", |e| e.learning_rate),
    ]
}

/// One line of it.
pub fn summary(curve: &Curve) -> Option<String> {
    let last = curve.epochs.last()?;
    Some(format!(
        "{} epochs by `cavern train`; at the end loss {:.4}, held-out loss {:.4}, held-out accuracy {:.4}",
        last.epoch, last.loss, last.held_out_loss, last.accuracy
    ))
}
