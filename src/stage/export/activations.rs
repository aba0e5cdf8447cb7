//! Activations with labels, groups and split, in the form that `dataset.format = "imported"` reads again.

use super::samples::Samples;
use super::{PARTS, Wanted, check, wants};
use crate::activation::{LayerSet, Storage, Variant};
use crate::error::Result;
use crate::stage::{Context, items};
use crate::store::arrays::{Array, Sink, write};

/// Writes `activations/LAYER` `[n, c, h, w]` (`[n, c]` where only means over positions were stored), `labels`, `groups`
/// and `split`; how many layers.
///
/// # Errors
/// When activations were not extracted, a name is not known, or the file cannot be written.
pub fn activations(context: &Context, wanted: &Wanted<'_>) -> Result<usize> {
    check("layer", wanted.layers, context.layers.iter().map(|l| l.name.as_str()))?;
    let parts = if wanted.parts.is_empty() { &PARTS } else { wanted.parts };
    let samples = Samples::of(context, wanted, parts)?;
    let (rows, items) = (&samples.rows, items::plain(context));
    let chosen = (0..context.layers.len()).filter(|l| wants(wanted.layers, &context.layers[*l].name));
    let open = |l: usize| context.extraction().open(&context.store, &items, l);
    let sets = chosen.map(open).collect::<Result<Vec<LayerSet>>>()?;
    let whole = context.study.activation.storage != Storage::Pooled;
    let layer = |set| layer(set, rows, whole);
    let arrays = sets.iter().map(layer).chain([samples.groups()]).chain(samples.labels_and_split());
    write(wanted.to, wanted.over, &samples.about()?, arrays.collect())?;
    Ok(sets.len())
}

/// One layer, sample by sample.
fn layer<'a>(set: &'a LayerSet, rows: &'a [usize], whole: bool) -> Array<'a> {
    let variant = if whole { Variant::Full } else { Variant::TranslationInvariant };
    let [c, h, w] = set.shape;
    let shape = if whole { vec![rows.len(), c, h, w] } else { vec![rows.len(), c] };
    let values = move |sink: &mut Sink<'_>| rows.iter().try_for_each(|sample| sink.f32(&set.vector(*sample, variant)?));
    Array::f32(format!("activations/{}", set.layer), shape, values)
}
