//! Directions made elsewhere, read from the file of `probe.imported`.

use std::path::Path;

use super::kind::{Earlier, ProbeKind};
use super::task::{Offset, Outcome, Solution, Task, Weights, refused};
use crate::dataset::imported::arrays::Arrays;
use crate::error::{Error, Result};

/// The first array that the file has of `LAYER/CONCEPT/VARIANT`, `LAYER/CONCEPT/classifier/VARIANT`, `LAYER/CONCEPT` and
/// `CONCEPT`; its offset is the single value of `NAME.bias`, or, without one, fitted on the validation split.
pub struct Imported;

impl ProbeKind for Imported {
    fn name(&self) -> &'static str {
        "imported"
    }

    fn about(&self) -> &'static str {
        "a direction from the file of probe.imported"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let Some(path) = &task.options.imported else { return refused("probe.imported names no file") };
        let mut file = Arrays::open(path)?;
        let found = file.names(path)?;
        let wanted = names(task);
        let Some(name) = wanted.iter().find(|name| found.contains(name)) else {
            return refused(format!("{} has no array {}", path.display(), wanted.map(|n| format!("`{n}`")).join(", ")));
        };
        let weights = vector(&mut file, path, name, task.space.variant.width(task.set.shape))?;
        let bias = format!("{name}.bias");
        let offset = if found.contains(&bias) {
            Offset::Native(vector(&mut file, path, &bias, 1)?[0])
        } else {
            Offset::Calibrated
        };
        let mut solution = Solution::new(Vec::new(), offset, (0, 0));
        solution.weights = Weights::Activations(weights);
        Ok(solution)
    }
}

/// Names a direction may have, the most telling first. The second is that of a classifier in a run's `cavs.safetensors`.
fn names(task: &Task<'_>) -> [String; 4] {
    let (layer, concept, variant) = (&task.set.layer, task.concept, task.space.variant);
    [
        format!("{layer}/{concept}/{variant}"),
        format!("{layer}/{concept}/classifier/{variant}"),
        format!("{layer}/{concept}"),
        concept.to_owned(),
    ]
}

/// An array of finite numbers, of any shape with that many.
fn vector(file: &mut Arrays, path: &Path, name: &str, wanted: usize) -> Result<Vec<f64>> {
    let array = file.read(path, name)?;
    let (shape, values) = (array.shape, array.values.into_doubles());
    if values.len() != wanted {
        let problem = format!("array `{name}` is {shape:?}, {} values, where {wanted} are wanted", values.len());
        let hint =
            "one value a channel and position for the variant `full`, one a channel for the others, one for a bias";
        return Err(Error::file(path, problem, hint));
    }
    if let Some(odd) = values.iter().find(|v| !v.is_finite()) {
        return Err(Error::file(path, format!("array `{name}` holds {odd}"), "write finite numbers"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::task::Unsolved;

    fn import(arrays: &[(&str, Vec<f64>)]) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new([6, 2, 2], 30, 15);
        let path = dir.path().join("directions.npz");
        let mut npz = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
        arrays.iter().for_each(|(name, values)| npz.add_array(*name, &ndarray::Array1::from(values.clone())).unwrap());
        npz.finish().unwrap();
        world.options.imported = Some(path);
        world.with(|task| Imported.fit(task, &Earlier::new()))
    }

    #[test]
    fn the_most_telling_name_is_read_with_its_bias() {
        let full: Vec<f64> = (0..24).map(f64::from).collect();
        let found = import(&[("planted", vec![1.0; 24]), ("world/planted/full", full.clone())]).unwrap();
        assert!(matches!(&found.weights, Weights::Activations(w) if *w == full));
        assert_eq!(found.offset, Offset::Calibrated);
        let found = import(&[("world/planted", full.clone()), ("world/planted.bias", vec![-2.5])]).unwrap();
        assert_eq!(found.offset, Offset::Native(-2.5));
    }

    #[test]
    fn what_is_missing_is_a_refusal_and_what_is_wrong_an_error() {
        let Err(Unsolved::Refused(reason)) = import(&[("other", vec![1.0; 24])]) else { panic!("no refusal") };
        assert!(reason.contains("`world/planted/full`") && reason.contains("`planted`"), "{reason}");
        for (values, part) in [(vec![1.0; 6], "24 are wanted"), (vec![f64::NAN; 24], "NaN")] {
            let Err(Unsolved::Failed(error)) = import(&[("planted", values)]) else { panic!("no error") };
            assert!(error.to_string().contains(part) && error.to_string().contains("`planted`"), "{error}");
        }
    }
}
