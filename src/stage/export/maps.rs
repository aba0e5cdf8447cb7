//! Attribution maps, with the samples and labels they are of.

use std::cell::RefCell;

use super::samples::Samples;
use super::{Wanted, check, wants};
use crate::dataset::Part;
use crate::error::{Error, Result};
use crate::probe::{Cav, Variant};
use crate::stage::localise::{self, Maps};
use crate::stage::{Context, fit};
use crate::store::arrays::{Array, Sink, write};

/// The parts of the split that have maps.
const MAPPED: [Part; 2] = [Part::Val, Part::Test];

/// A unit of work: a layer and a variant.
type Unit = (usize, Variant);

/// Writes `maps/LAYER/CONCEPT/PROBE/VARIANT` `[k, h, w]`, `rows/CONCEPT` `[k]`, which of the file's samples they are of,
/// `labels`, `groups` and `split`; how many sets of maps.
///
/// # Errors
/// When maps were not made, a name is not known, a part has no maps, or the file cannot be written.
pub fn maps(context: &Context, wanted: &Wanted<'_>) -> Result<usize> {
    if let Some(part) = wanted.parts.iter().find(|p| !MAPPED.contains(p)) {
        return Err(Error::key("--split", format!("there are no maps of `{}`", part.name()), "choose val or test"));
    }
    let parts: Vec<Part> = MAPPED.into_iter().filter(|p| wanted.parts.is_empty() || wanted.parts.contains(p)).collect();
    let samples = Samples::of(context, wanted, &parts)?;
    let units = units(context, wanted)?;
    let open = RefCell::new(None);
    let mut arrays = Vec::new();
    for (unit, cavs) in &units {
        for cav in cavs {
            let concept = context.concepts().iter().position(|c| *c == cav.concept).unwrap_or(0);
            let count = rows(context, &samples, &parts, concept).len();
            let (parts, open) = (&parts, &open);
            let fill = move |sink: &mut Sink<'_>| write_maps(context, open, *unit, cav, parts, sink);
            let name = format!("maps/{}/{}/{}/{}", cav.layer, cav.concept, cav.probe, cav.variant);
            arrays.push(Array::f32(name, vec![count, cav.shape[1], cav.shape[2]], fill));
        }
    }
    let count = arrays.len();
    for concept in &samples.concepts {
        let name = format!("rows/{}", context.concepts()[*concept]);
        arrays.push(Array::i32(name, rows(context, &samples, &parts, *concept)));
    }
    arrays.push(samples.groups());
    arrays.extend(samples.labels_and_split());
    write(wanted.to, wanted.over, &samples.about()?, arrays)?;
    Ok(count)
}

/// The wanted directions that have maps, by unit.
fn units(context: &Context, wanted: &Wanted<'_>) -> Result<Vec<(Unit, Vec<Cav>)>> {
    let fitted = context.units().into_iter().map(|unit| Ok((unit, fit::get(context, unit.0, unit.1)?.1.cavs)));
    let mut units = fitted.collect::<Result<Vec<(Unit, Vec<Cav>)>>>()?;
    check("layer", wanted.layers, context.layers.iter().map(|l| l.name.as_str()))?;
    check("probe", wanted.probes, units.iter().flat_map(|(_, cavs)| cavs).map(|c| c.probe.as_str()))?;
    for (_, cavs) in &mut units {
        cavs.retain(|cav| {
            let chosen = wants(wanted.layers, &cav.layer) && wants(wanted.concepts, &cav.concept);
            chosen && wants(wanted.probes, &cav.probe) && cav.has_map()
        });
    }
    Ok(units)
}

/// Which of the file's samples the maps of a concept are of: those of the validation split, then those of the test split.
fn rows(context: &Context, samples: &Samples<'_>, parts: &[Part], concept: usize) -> Vec<i32> {
    let of = |part: &Part| match part {
        Part::Val => localise::validation_samples(context, concept),
        _ => localise::samples(context, concept),
    };
    let row = |sample: usize| samples.rows.binary_search(&sample).ok().map(|row| row as i32);
    parts.iter().flat_map(of).filter_map(row).collect()
}

/// Writes the maps of one direction; those of its unit stay open for the next.
fn write_maps(
    context: &Context,
    open: &RefCell<Option<(Unit, Maps)>>,
    unit: Unit,
    cav: &Cav,
    parts: &[Part],
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut open = open.borrow_mut();
    if open.as_ref().is_none_or(|(of, _)| *of != unit) {
        *open = None;
    }
    let (_, maps) = match &mut *open {
        Some(open) => open,
        none => none.insert((unit, Maps::open(context, unit.0, unit.1)?)),
    };
    parts.iter().try_for_each(|part| {
        let maps = if *part == Part::Val { maps.of_validation(cav)? } else { maps.of(cav)? };
        maps.iter().try_for_each(|map| sink.f32(map))
    })
}
