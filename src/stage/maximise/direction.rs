//! A direction from a file: a CAV without a study.

use std::path::{Path, PathBuf};

use super::jobs::order;
use super::studio::{Order, Role};
use crate::dataset::imported::arrays::{Array, Arrays};
use crate::error::{Error, Result};
use crate::maximise::{MaximiseOptions, Objective};
use crate::model::Graph;
use crate::probe::Variant;

/// Every seed of a direction at a layer. `file` is `PATH` or `PATH:NAME`: an array of a `.npy`, `.npz` or `.safetensors` file,
/// of a value a channel (`[channel]`, shared over positions), or a value a channel and position (`[channel, height, width]`).
///
/// # Errors
/// When the layer does not exist, the file cannot be read, or the array is of another length or not of finite numbers.
pub fn of_file(graph: &Graph, layer: &str, file: &Path, options: &MaximiseOptions) -> Result<Vec<Order>> {
    let node = graph.layer(layer)?;
    let (path, name) = split(file);
    let (name, array) = read(&path, name)?;
    let (shape, values) = (array.shape, array.values.into_singles());
    let wanted = graph.layout(node).map_shape();
    let whole: usize = wanted.iter().product();
    let variant = match values.len() {
        count if count == wanted[0] => Variant::TranslationInvariant,
        count if count == whole => Variant::Full,
        _ => {
            let problem =
                format!("array {shape:?} fits no direction of layer `{layer}`, whose activation is {wanted:?}");
            let hint = format!("give {} values (channels), or {whole} (channel, height, width)", wanted[0]);
            return Err(Error::file(&path, problem, hint));
        }
    };
    if let Some(odd) = values.iter().find(|v| !v.is_finite()) {
        let problem = format!("the direction for layer `{layer}` holds {odd}");
        return Err(Error::file(&path, problem, "write finite numbers"));
    }
    let objective = Objective::direction(node, values, variant, options.cosine_power);
    let label = format!("{layer} along {name}");
    let of = |seed| {
        let mut rendered = order(layer, &label, "imported", Role::Cav, seed);
        rendered.variant = Some(variant);
        (rendered, objective.clone())
    };
    Ok((0..options.seeds as u64).map(of).collect())
}

/// A path, and the name of an array after a colon.
fn split(file: &Path) -> (PathBuf, Option<&str>) {
    match file.to_str().and_then(|text| text.rsplit_once(':')) {
        Some((path, name)) if !file.is_file() => (path.into(), Some(name)),
        _ => (file.to_owned(), None),
    }
}

/// The array of this name, or the only one, and what to call it.
fn read(path: &Path, name: Option<&str>) -> Result<(String, Array)> {
    let mut file = Arrays::open(path)?;
    let names = file.names(path)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match (name, names.as_slice()) {
        (None, [only]) => Ok((stem, file.read(path, only)?)),
        (None, _) => {
            let hint = format!("name one after a colon, as in {}:NAME: {}", path.display(), names.join(", "));
            Err(Error::file(path, format!("it holds {} arrays", names.len()), hint))
        }
        (Some(name), _) if names.iter().any(|own| own == name) => {
            Ok((format!("{stem}:{name}"), file.read(path, name)?))
        }
        (Some(name), _) => Err(Error::unknown("array", name, names.iter().map(String::as_str))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maximise::objective::Reading;
    use crate::model::zoo;
    use ndarray::{Array1, Array3};

    fn of(file: &str, layer: &str) -> Result<Vec<Order>> {
        let graph = zoo::outline("elements_cnn", &zoo::Options::default()).unwrap();
        of_file(&graph, layer, Path::new(file), &MaximiseOptions::default())
    }

    #[test]
    fn a_direction_is_shared_or_whole_by_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let graph = zoo::outline("elements_cnn", &zoo::Options::default()).unwrap();
        let [channels, height, width] = graph.layout(graph.layer("conv4").unwrap()).map_shape();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let shared = Array1::from_iter((0..channels).map(|c| c as f64));
        ndarray_npy::write_npy(path("shared.npy"), &shared).unwrap();
        let orders = of(&path("shared.npy"), "conv4").unwrap();
        assert_eq!((orders.len(), orders[1].0.seed), (2, 1));
        assert_eq!(orders[0].0.concept, "conv4 along shared");
        let wanted: Vec<f32> = (0..channels).map(|c| c as f32).collect();
        assert_eq!(orders[0].1.terms[0].reading, Reading::Mean { direction: wanted, power: 0.0 });
        let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(path("two.npz")).unwrap());
        npz.add_array("whole", &Array3::<f32>::ones((channels, height, width))).unwrap();
        npz.add_array("odd", &Array1::from_elem(channels, f32::NAN)).unwrap();
        npz.finish().unwrap();
        let orders = of(&format!("{}:whole", path("two.npz")), "conv4").unwrap();
        assert!(matches!(&orders[0].1.terms[0].reading, Reading::Whole(w) if w.len() == channels * height * width));
        for (file, layer, parts) in [
            ("two.npz", "conv4", ["2 arrays", "whole"]),
            ("two.npz:odd", "conv4", ["NaN", "`conv4`"]),
            ("two.npz:other", "conv4", ["other", "whole"]),
            ("two.npz:whole", "conv6", ["`conv6`", "two.npz"]),
            ("none.npy", "conv4", ["none.npy", "no such file"]),
            ("shared.npy", "conv44", ["conv44", "conv4"]),
        ] {
            let message = of(&path(file), layer).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{file}: {message}");
        }
        std::fs::write(path("cut.npy"), &std::fs::read(path("shared.npy")).unwrap()[..100]).unwrap();
        assert!(of(&path("cut.npy"), "conv4").unwrap_err().to_string().contains("cut.npy"));
    }
}
