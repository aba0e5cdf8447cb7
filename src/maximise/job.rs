//! What is to be rendered.

use super::options::MaximiseOptions;
use crate::probe::false_positive::gaussian;
use crate::probe::{Cav, Variant};
use crate::seed::Seed;

/// One picture to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name in messages and tables.
    pub label: String,
    /// Unit vector: `channel` values, or `channel * height * width` for full.
    pub direction: Vec<f32>,
    /// Full or translation-invariant.
    pub variant: Variant,
    /// Number of the noise that it starts from and of the shaking; jobs with the same number share both.
    pub seed: u64,
}

/// The jobs of a direction: itself from every seed and, as controls, its opposite and a random unit vector, which share
/// the noise of the first seed. Labels are `concept/probe`, `-concept/probe` and `random`.
pub fn plan(cav: &Cav, options: &MaximiseOptions, seed: Seed) -> Vec<Job> {
    let job = |label: String, direction: Vec<f32>, seed| Job { label, direction, variant: cav.variant, seed };
    let name = format!("{}/{}", cav.concept, cav.probe);
    let mut jobs: Vec<Job> = (0..options.seeds as u64).map(|s| job(name.clone(), cav.direction.clone(), s)).collect();
    if options.controls {
        jobs.push(job(format!("-{name}"), cav.direction.iter().map(|v| -v).collect(), 0));
        let stream = format!("maximise random {} {}", cav.layer, cav.variant.name());
        jobs.push(job("random".to_owned(), random_unit(cav.direction.len(), seed, &stream), 0));
    }
    jobs
}

/// A direction drawn uniformly from the unit sphere: the same for all concepts of a layer.
fn random_unit(size: usize, seed: Seed, stream: &str) -> Vec<f32> {
    let mut rng = seed.stream(stream);
    let values: Vec<f64> = (0..size).map(|_| gaussian(&mut rng)).collect();
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
    values.iter().map(|v| (v / norm) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Fit;

    #[test]
    fn a_direction_has_controls() {
        let cav = Cav {
            concept: "stripes".into(),
            layer: "mixed".into(),
            probe: "classifier".into(),
            variant: Variant::TranslationInvariant,
            shape: [2, 4, 4],
            direction: vec![0.6, 0.8],
            norm: 1.0,
            bias: 0.0,
            threshold: 0.0,
            fit: Fit { lambda: f64::NAN, gradient_norm: 0.0, positives: 1, negatives: 1 },
            facts: std::collections::BTreeMap::new(),
        };
        let jobs = plan(&cav, &MaximiseOptions::default(), Seed(1));
        let labels: Vec<(&str, u64)> = jobs.iter().map(|j| (j.label.as_str(), j.seed)).collect();
        let name = "stripes/classifier";
        assert_eq!(labels, [(name, 0), (name, 1), ("-stripes/classifier", 0), ("random", 0)]);
        assert_eq!(jobs[2].direction, [-0.6, -0.8]);
        assert!((jobs[3].direction.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        let options = MaximiseOptions { controls: false, ..MaximiseOptions::default() };
        assert_eq!(plan(&cav, &options, Seed(1)).len(), 2);
    }
}
