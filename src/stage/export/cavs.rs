//! Directions with their provenance, from the file that a run ends with: no data and no network are needed.

use std::path::Path;

use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

use super::{Wanted, check, wants};
use crate::error::{Error, Result};
use crate::store::arrays::{ABOUT, Array, Sink, write};

/// Writes the wanted directions of a run's folder, each as `LAYER/CONCEPT/PROBE/VARIANT`, and their provenance; how many.
///
/// # Errors
/// When the run has no directions, a name is not known, or the file cannot be written.
pub fn cavs(run: &Path, wanted: &Wanted<'_>) -> Result<usize> {
    let path = run.join("cavs.safetensors");
    if !path.is_file() {
        let hint = "run `cavern run STUDY` to its end, with the same --out and --set";
        return Err(Error::file(&path, "there is no such file", hint));
    }
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let damaged = |problem: String| Error::file(&path, problem, "run `cavern report STUDY` again");
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let text = header.metadata().as_ref().and_then(|m| m.get(ABOUT)).map_or("", String::as_str);
    let mut about: Value = serde_json::from_str(text).map_err(|e| damaged(format!("its provenance: {e}")))?;
    let known = about["cavs"].as_object().cloned().unwrap_or_default();
    for (kind, key, list) in
        [("layer", "layer", wanted.layers), ("concept", "concept", wanted.concepts), ("probe", "probe", wanted.probes)]
    {
        check(kind, list, known.values().filter_map(|cav| cav[key].as_str()))?;
    }
    let chosen = |(_, cav): &(String, Value)| {
        let of = |key: &str| cav[key].as_str().unwrap_or_default();
        wants(wanted.layers, of("layer")) && wants(wanted.concepts, of("concept")) && wants(wanted.probes, of("probe"))
    };
    let chosen: Map<String, Value> = known.into_iter().filter(chosen).collect();
    let views = chosen.keys().map(|name| Ok((name.clone(), tensors.tensor(name)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(|e| damaged(e.to_string()))?;
    about["cavs"] = Value::Object(chosen);
    let arrays: Vec<Array<'_>> = views.iter().map(|(name, view)| array(name, view)).collect();
    let count = arrays.len();
    write(wanted.to, wanted.over, &about, arrays)?;
    Ok(count)
}

fn array<'a>(name: &str, view: &'a TensorView<'_>) -> Array<'a> {
    let values = |sink: &mut Sink<'_>| {
        let numbers = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        sink.f32(&numbers.collect::<Vec<f32>>())
    };
    Array::f32(name.to_owned(), view.shape().to_vec(), values)
}
