//! Made-up numbers and pictures for the tests of this module.

use image::{Rgb, RgbImage};

use super::overlay;
use super::page::{ConceptCount, CosineMatrix, NormMap, Overlay, Page, Refusal, RenderingFigure, Trace};
use super::row::{MetricRow, SampleRow};
use super::{ByProbe, Run, comparisons, correlations};
use crate::dataset::Mask;
use crate::maximise::png;
use crate::metric::{CompareOptions, Estimate};
use crate::seed::Seed;

const PROBES: [&str; 7] = ["classifier", "pattern", "segmentation", "fp", "cured", "random", "permuted"];

/// What a made-up study is about.
pub(super) struct Size {
    layers: Vec<String>,
    concepts: Vec<String>,
    probes: Vec<&'static str>,
    variants: Vec<&'static str>,
    /// Concepts with maps, the examples of each true and false positive, and the maps' side in pixels.
    mapped: Vec<String>,
    examples: usize,
    side: usize,
}

impl Size {
    /// Two layers, four concepts, seven probes, two variants.
    pub(super) fn small() -> Self {
        Self {
            layers: vec!["layer2".to_owned(), "layer3".to_owned()],
            concepts: ["circle", "red", "striped", "triangle"].map(str::to_owned).to_vec(),
            probes: PROBES.to_vec(),
            variants: vec!["full", "ti"],
            mapped: vec!["red".to_owned(), "triangle".to_owned()],
            examples: 1,
            side: 64,
        }
    }

    /// Four layers, 200 concepts, twelve probes.
    pub(super) fn large() -> Self {
        let concepts: Vec<String> = (1..=200).map(|i| format!("concept {i}")).collect();
        Self {
            layers: (1..=4).map(|i| format!("layer{i}")).collect(),
            mapped: concepts.clone(),
            concepts,
            probes: [PROBES.as_slice(), &["ridge", "svm", "lda", "mean_difference", "fast_cav"]].concat(),
            variants: vec!["ti"],
            examples: 3,
            side: 224,
        }
    }
}

/// A row without interval and null.
pub(super) fn row(layer: &str, concept: &str, probe: &str, variant: &str, metric: &str, value: f64) -> MetricRow {
    let nan = f64::NAN;
    MetricRow {
        study: "demo".to_owned(),
        model: "resnet50".to_owned(),
        layer: layer.to_owned(),
        concept: concept.to_owned(),
        probe: probe.to_owned(),
        variant: variant.to_owned(),
        seed: 1,
        split: "test".to_owned(),
        metric: metric.to_owned(),
        parameter: String::new(),
        estimate: Estimate { value, ci_low: nan, ci_high: nan, null: nan, null_kind: String::new(), n: 400 },
        higher_is_better: metric != "flip_rate",
    }
}

/// The n-th of many scores.
pub(super) fn sample_row(n: u32) -> SampleRow {
    SampleRow {
        layer: "layer3".to_owned(),
        concept: "red".to_owned(),
        probe: "classifier".to_owned(),
        variant: "full".to_owned(),
        sample: format!("{:08x}", n.wrapping_mul(2_654_435_761)),
        name: format!("{n:06}"),
        split: "test".to_owned(),
        present: n.is_multiple_of(2),
        score: if n == 7 { f64::NAN } else { wave(f64::from(n)) },
    }
}

/// Something irregular in [-1, 1] that is the same on every machine to the last shown digit.
fn wave(x: f64) -> f64 {
    (x * 12.9898).sin()
}

/// Mean level of a probe by metric: accurate probes that rest on company lose under H3.
fn level(probe: &str, metric: &str) -> f64 {
    let null = matches!(probe, "random" | "permuted");
    match metric {
        _ if null && matches!(metric, "seg_iou" | "direction_cosine" | "seed_stability") => 0.08,
        "icc" if null => 0.42,
        _ if null => 0.5,
        "accuracy" | "auroc" | "sensitivity" | "specificity" => {
            if probe == "fp" {
                0.74
            } else {
                0.9
            }
        }
        "hard_h1" => 0.47,
        "hard_h2" => 0.72,
        "hard_h3" => {
            if probe == "segmentation" {
                0.83
            } else {
                0.6
            }
        }
        "seg_auroc" => {
            if probe == "segmentation" {
                0.93
            } else {
                0.71
            }
        }
        "seg_iou" => {
            if probe == "segmentation" {
                0.55
            } else {
                0.24
            }
        }
        "icc" => 0.8,
        _ => 0.45,
    }
}

/// A complete table.
pub(super) fn rows(size: &Size) -> Vec<MetricRow> {
    let metrics = [
        "accuracy",
        "auroc",
        "hard_h1",
        "hard_h2",
        "hard_h3",
        "seg_auroc",
        "seg_iou",
        "seg_pointing",
        "icc",
        "direction_cosine",
        "seed_stability",
    ];
    let mut out = Vec::new();
    for layer in &size.layers {
        for concept in &size.concepts {
            for probe in &size.probes {
                for variant in &size.variants {
                    for metric in metrics {
                        let x = out.len() as f64;
                        let ti = if *variant == "ti" && metric != "accuracy" { 0.06 } else { 0.0 };
                        let value = (level(probe, metric) + ti + 0.07 * wave(x)).clamp(-1.0, 1.0);
                        out.push(estimated(row(layer, concept, probe, variant, metric, value)));
                    }
                    extras(&mut out, layer, concept, probe, variant);
                }
            }
        }
    }
    // A metric that could not be measured, and one behind a refusal.
    for row in out.iter_mut().filter(|r| r.concept == "striped" && r.metric.starts_with("seg_")) {
        undefine(row, 0);
    }
    for row in out.iter_mut().filter(|r| r.concept == "circle" && r.probe == "cured") {
        undefine(row, 31);
    }
    out
}

fn undefine(row: &mut MetricRow, n: usize) {
    let nan = f64::NAN;
    row.estimate = Estimate { value: nan, ci_low: nan, ci_high: nan, null: nan, null_kind: String::new(), n };
}

fn estimated(mut row: MetricRow) -> MetricRow {
    let e = &mut row.estimate;
    let half = 0.045;
    (e.ci_low, e.ci_high) = ((e.value - half).max(-1.0), (e.value + half).min(1.0));
    let (null, kind) = match row.metric.as_str() {
        "accuracy" | "auroc" | "hard_h1" | "hard_h2" | "hard_h3" => (0.5, "chance"),
        "seg_auroc" => (0.52, "random direction"),
        "seg_iou" => (0.09, "random direction"),
        "seg_pointing" => (0.12, "mean mask area"),
        "direction_cosine" => (0.0, "random direction"),
        _ => (f64::NAN, ""),
    };
    (e.null, e.null_kind) = (null, kind.to_owned());
    row
}

/// Rows that only some probes have.
fn extras(out: &mut Vec<MetricRow>, layer: &str, concept: &str, probe: &str, variant: &str) {
    let find =
        |m: &str, rows: &[MetricRow]| rows.iter().rev().find(|r| r.metric == m).map_or(0.0, |r| r.estimate.value);
    let gap = find("accuracy", out) - find("hard_h3", out);
    out.push(estimated(row(layer, concept, probe, variant, "hard_gap_h3", gap)));
    let mut ceiling = row(layer, concept, probe, variant, "seg_iou", 0.5);
    ceiling.parameter = "of_ceiling".to_owned();
    out.push(ceiling);
    for degrees in [5, 15, 30] {
        let mut turned = row(layer, concept, probe, variant, "retention", 1.0 - 0.004 * f64::from(degrees));
        turned.parameter = format!("rotate {degrees}");
        out.push(turned);
    }
    if probe == "fp" {
        let mut cosine =
            estimated(row(layer, concept, probe, variant, "cos_classifier", 0.61 + 0.05 * wave(out.len() as f64)));
        (cosine.estimate.null, cosine.estimate.null_kind) = (0.6, "selection".to_owned());
        out.push(cosine);
        out.push(estimated(row(layer, concept, probe, variant, "excess_over_twin", 0.02)));
        out.push(row(layer, concept, probe, variant, "false_positives", 88.0));
    }
    if probe == "classifier" {
        out.push(row(layer, concept, probe, variant, "gradient_norm", 3.2e-7));
    }
}

/// A picture of a bright disc, its mask, and a map that lies `off` pixels beside it.
fn picture(off: f32, side: usize) -> Vec<u8> {
    let unit = side as f32 / 64.0;
    let disc = |x: f32, y: f32| (x - 24.0).hypot(y - 36.0) < 14.0;
    let at = |i: usize| ((i % side) as f32 / unit, (i / side) as f32 / unit);
    let image = RgbImage::from_fn(side as u32, side as u32, |x, y| {
        let (x, y) = at(y as usize * side + x as usize);
        if disc(x, y) { Rgb([210, 60, 50]) } else { Rgb([200, 205, 190 - (x + y) as u8 / 2]) }
    });
    let map: Vec<f32> = (0..side * side)
        .map(|i| {
            let (x, y) = at(i);
            let bump = |cx: f32, cy: f32| (-((x - cx).powi(2) + (y - cy).powi(2)) / 220.0).exp();
            bump(24.0 + off, 36.0 - off) - 0.6 * bump(54.0, 12.0)
        })
        .collect();
    let mask = Mask { width: side, height: side, pixels: (0..side * side).map(|i| disc(at(i).0, at(i).1)).collect() };
    png(&overlay(&image, &map, 1.0, Some(&mask)).unwrap()).unwrap()
}

fn noise(seed: u64) -> Vec<u8> {
    let image = RgbImage::from_fn(160, 160, |x, y| {
        let v = |k: f64| (128.0 + 90.0 * wave(f64::from(x / 10) * k + f64::from(y / 10) * 0.37 + seed as f64)) as u8;
        Rgb([v(0.11), v(0.23), v(0.31)])
    });
    png(&image).unwrap()
}

fn overlays(size: &Size) -> Vec<Overlay> {
    let pictures: Vec<Vec<u8>> = (0..size.probes.len()).map(|p| picture(p as f32 * 5.0, size.side)).collect();
    let outcomes = [("true positive", size.examples), ("false positive", size.examples), ("true negative", 1)];
    let mut out = Vec::new();
    for (c, concept) in size.mapped.iter().enumerate() {
        for (p, probe) in size.probes.iter().enumerate().filter(|(_, p)| !["random", "permuted"].contains(p)) {
            for (outcome, example) in outcomes.iter().flat_map(|(o, n)| (0..*n).map(move |i| (*o, i))) {
                out.push(Overlay {
                    layer: size.layers[size.layers.len() - 1].clone(),
                    concept: concept.clone(),
                    probe: (*probe).to_owned(),
                    variant: size.variants[c % size.variants.len()].to_owned(),
                    outcome: outcome.to_owned(),
                    sample: format!("test/{concept}/{:05}.png", 17 * example + c),
                    score: 2.4 - p as f64,
                    file: format!("maps/{concept}-{probe}-{example}.png"),
                    png: pictures[p].clone(),
                });
            }
        }
    }
    out
}

fn renderings() -> Vec<RenderingFigure> {
    let mut out = Vec::new();
    for concept in ["red", "triangle"] {
        for (role, seed) in [("cav", 1), ("cav", 2), ("cav", 3), ("negative", 1), ("random", 1)] {
            out.push(RenderingFigure {
                layer: "layer3".to_owned(),
                concept: concept.to_owned(),
                probe: "classifier".to_owned(),
                variant: "full".to_owned(),
                role: role.to_owned(),
                parameter: None,
                seed,
                score: 12.5 - seed as f64,
                percentile: (role == "cav").then_some(99.0),
                note: (role == "random").then(|| "stopped before it settled".to_owned()),
                file: format!("maximisation/{concept}-{role}-{seed}.png"),
                png: noise(seed + role.len() as u64),
            });
        }
    }
    out
}

fn cosines(size: &Size) -> Vec<CosineMatrix> {
    let names: Vec<String> = size.probes.iter().filter(|p| **p != "permuted").map(|p| (*p).to_owned()).collect();
    let count = names.len();
    let value = |i: usize, j: usize| match (i, j) {
        _ if i == j => 1.0,
        (4, 3) | (3, 4) => f64::NAN,
        _ => 0.5 * wave((i * j + i + j) as f64) + 0.2,
    };
    let values: Vec<Vec<f64>> = (0..count).map(|i| (0..count).map(|j| value(i, j)).collect()).collect();
    let matrix = |layer: &str, concept: &str| CosineMatrix {
        layer: layer.to_owned(),
        concept: concept.to_owned(),
        variant: size.variants[0].to_owned(),
        names: names.clone(),
        values: values.clone(),
    };
    size.layers.iter().flat_map(|l| size.concepts.iter().map(|c| matrix(l, c))).collect()
}

fn norms() -> Vec<NormMap> {
    let map = |concept: &str, label: &str, grid: (usize, usize)| NormMap {
        layer: "layer3".to_owned(),
        concept: concept.to_owned(),
        label: label.to_owned(),
        grid,
        norms: (0..grid.0 * grid.1).map(|i| 1.2 + wave(i as f64)).collect(),
    };
    ["red", "triangle"].iter().flat_map(|c| [map(c, "mean of draws", (7, 7)), map(c, "classifier", (28, 30))]).collect()
}

fn training() -> Vec<Trace> {
    let panel = |label: &str, end: f32| Trace {
        label: label.to_owned(),
        values: (1..=6).map(|epoch| end + 0.8 / epoch as f32).collect(),
    };
    vec![panel("loss", 0.01), panel("held-out loss", 0.02)]
}

fn traces() -> Vec<Trace> {
    let values = |k: f32| (0..512).map(|i| k * (1.0 - (-(i as f32) / 90.0).exp())).collect();
    [
        "red, classifier (full), seed 1",
        "red, turned round",
        "triangle, classifier (full), seed 1",
        "random direction",
        "red, seed 2",
    ]
    .iter()
    .enumerate()
    .map(|(i, label)| Trace { label: (*label).to_owned(), values: values(3.0 + i as f32) })
    .collect()
}

fn counts(size: &Size) -> Vec<ConceptCount> {
    let mut out = Vec::new();
    for (i, concept) in size.concepts.iter().enumerate() {
        for (part, all) in [("fit", 1200), ("val", 300), ("test", 500)] {
            let unknown = if i == 2 { all / 10 } else { 0 };
            let present = all * (i % 4 + 2) / 9;
            out.push(ConceptCount {
                concept: concept.clone(),
                part: part.to_owned(),
                present,
                absent: all - present - unknown,
                unknown,
            });
        }
    }
    out
}

/// A page with something in every section.
pub(super) fn page<'a>(rows: &'a [MetricRow], size: &Size) -> Page<'a> {
    let fact = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let (run, options) = ([Run { name: "demo", rows }], CompareOptions { bootstrap: 100 });
    Page {
        title: "Elements: do the probes mean their names?",
        about: "Four concepts of generated pictures in two layers of a ResNet50. In this world, red and triangle nearly \
                always come together.",
        facts: vec![
            fact("Model", "resnet50"),
            fact("Weights", "IMAGENET1K_V2 · 5fd9a01c"),
            fact("Dataset", "elements, world E2"),
            fact("Samples", "2,000"),
            fact("Layers", "layer2, layer3"),
            fact("Probes", "classifier, pattern, segmentation, fp, cured"),
            fact("Seed", "1"),
            fact("Device", "cpu, 2 threads"),
            fact("cavern", "0.1.0"),
        ],
        study_text: "name = \"demo\"\nseed = 1\n\n[model]\nname = \"resnet50\"\nlayers = [\"layer2\", \"layer3\"]\n"
            .to_owned(),
        counts: counts(size),
        refusals: size
            .layers
            .iter()
            .map(|layer| Refusal {
                layer: layer.clone(),
                variant: "full".to_owned(),
                concept: "circle".to_owned(),
                probe: "cured".to_owned(),
                reason: "not enough false positives: 31 found, 50 needed".to_owned(),
            })
            .collect(),
        rows,
        comparisons: comparisons(&run, &ByProbe::new(), &options, Seed(1)),
        correlations: correlations(&run, "accuracy", &options, Seed(1)),
        kinds: vec![
            fact("circle", "shape"),
            fact("triangle", "shape"),
            fact("red", "colour"),
            fact("striped", "texture"),
        ],
        norms: norms(),
        overlays: overlays(size),
        renderings: renderings(),
        cosines: cosines(size),
        traces: traces(),
        training: training(),
        skipped: vec![
            fact("images/000412.png", "truncated PNG"),
            fact("masks/000533.png", "mask is 128 x 64, picture 128 x 128"),
        ],
        notes: vec!["Made-up numbers: this page only shows the layout.".to_owned()],
    }
}
