//! Grids of pictures: localisation maps and activation maximisation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use serde::Serialize;

use super::super::info::{probe_label, probe_order};
use super::super::page::{Overlay, RenderingFigure};
use super::super::plot::short_number;
use super::super::select::sorted;

/// The grids of one layer.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    layer: String,
    grids: Vec<Grid>,
}

/// One table of pictures.
#[derive(Debug, Serialize)]
struct Grid {
    title: String,
    about: &'static str,
    columns: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    detail: String,
    cells: Vec<Vec<Picture>>,
}

#[derive(Debug, Serialize)]
struct Picture {
    data: String,
    file: String,
    caption: String,
    detail: String,
    note: String,
}

/// Outcomes in the order shown, with title and explanation.
const OUTCOMES: [(&str, &str, &str); 5] = [
    (
        "true positive",
        "True positives",
        "The concept is there and the probe says so: red should lie inside the outline.",
    ),
    (
        "false positive",
        "False positives",
        "The concept is not there and the probe says it is: red shows what it took for the concept.",
    ),
    ("false negative", "False negatives", "The concept is there and the probe misses it."),
    ("true negative", "True negatives", "The concept is not there and the probe says so."),
    (
        "second opinions",
        "Second opinions",
        "Other methods' maps of the same score, beside the linear one. Each map has its own range of colours.",
    ),
];

/// Roles in the order shown, with heading.
const ROLES: [(&str, &str); 3] =
    [("cav", "The direction"), ("negative", "Turned round"), ("random", "Random direction")];

/// The overlays by layer and outcome: concepts down, probes across.
pub(super) fn overlays(overlays: &[Overlay]) -> Vec<Layer> {
    sorted(overlays.iter().map(|o| o.layer.as_str()))
        .into_iter()
        .map(|layer| {
            let own: Vec<&Overlay> = overlays.iter().filter(|o| o.layer == layer).collect();
            let mut outcomes: Vec<&str> = sorted(own.iter().map(|o| o.outcome.as_str()));
            outcomes.sort_by_key(|o| OUTCOMES.iter().position(|k| k.0 == *o).unwrap_or(OUTCOMES.len()));
            let grids = outcomes.into_iter().map(|outcome| overlay_grid(&own, outcome)).collect();
            Layer { layer: layer.to_owned(), grids }
        })
        .collect()
}

fn overlay_grid(overlays: &[&Overlay], outcome: &str) -> Grid {
    let own: Vec<&Overlay> = overlays.iter().copied().filter(|o| o.outcome == outcome).collect();
    let mut probes = sorted(own.iter().map(|o| o.probe.as_str()));
    probes.sort_by_key(|p| probe_order(p));
    let mut lines = Vec::new();
    for concept in sorted(own.iter().map(|o| o.concept.as_str())) {
        let of_concept = || own.iter().copied().filter(|o| o.concept == concept);
        for variant in sorted(of_concept().map(|o| o.variant.as_str())) {
            let cell = |probe: &&str| -> Vec<Picture> {
                of_concept().filter(|o| o.variant == variant && o.probe == **probe).map(overlay_picture).collect()
            };
            lines.push(Line {
                name: concept.to_owned(),
                detail: variant.to_owned(),
                cells: probes.iter().map(cell).collect(),
            });
        }
    }
    let known = OUTCOMES.iter().find(|k| k.0 == outcome);
    Grid {
        title: known.map_or(outcome, |k| k.1).to_owned(),
        about: known.map_or("", |k| k.2),
        columns: probes.into_iter().map(|p| probe_label(p).to_owned()).collect(),
        lines,
    }
}

fn overlay_picture(o: &Overlay) -> Picture {
    Picture {
        data: uri(&o.png),
        file: o.file.clone(),
        caption: o.sample.clone(),
        detail: score(o.score),
        note: String::new(),
    }
}

/// The renderings by layer: concept and probe down, roles across.
pub(super) fn renderings(renderings: &[RenderingFigure]) -> Vec<Layer> {
    sorted(renderings.iter().map(|r| r.layer.as_str()))
        .into_iter()
        .map(|layer| {
            let own: Vec<&RenderingFigure> = renderings.iter().filter(|r| r.layer == layer).collect();
            Layer { layer: layer.to_owned(), grids: vec![rendering_grid(&own)] }
        })
        .collect()
}

fn rendering_grid(own: &[&RenderingFigure]) -> Grid {
    let mut roles = sorted(own.iter().map(|r| r.role.as_str()));
    roles.sort_by_key(|r| ROLES.iter().position(|k| k.0 == *r).unwrap_or(ROLES.len()));
    let mut lines = Vec::new();
    for concept in sorted(own.iter().map(|r| r.concept.as_str())) {
        let of_concept = || own.iter().copied().filter(|r| r.concept == concept);
        let mut series: Vec<(&str, &str)> = of_concept().map(|r| (r.probe.as_str(), r.variant.as_str())).collect();
        series.sort_by_key(|(probe, variant)| (probe_order(probe), *probe, *variant));
        series.dedup();
        for (probe, variant) in series {
            let cell = |role: &&str| -> Vec<Picture> {
                let mut cell: Vec<&RenderingFigure> =
                    of_concept().filter(|r| r.probe == probe && r.variant == variant && r.role == **role).collect();
                cell.sort_by_key(|r| r.seed);
                cell.into_iter().map(rendering_picture).collect()
            };
            lines.push(Line {
                name: concept.to_owned(),
                detail: format!("{}, {variant}", probe_label(probe)),
                cells: roles.iter().map(cell).collect(),
            });
        }
    }
    let heading = |role: &str| ROLES.iter().find(|k| k.0 == role).map_or(role, |k| k.1).to_owned();
    Grid { title: String::new(), about: "", columns: roles.into_iter().map(heading).collect(), lines }
}

fn rendering_picture(r: &RenderingFigure) -> Picture {
    let percentile = r.percentile.filter(|p| p.is_finite()).map(|p| format!(" · above {p:.0} % of positives"));
    Picture {
        data: uri(&r.png),
        file: r.file.clone(),
        caption: format!("seed {}", r.seed),
        detail: score(r.score) + &percentile.unwrap_or_default(),
        note: r.note.clone().unwrap_or_default(),
    }
}

fn score(value: f64) -> String {
    if value.is_finite() { format!("score {}", short_number(value)) } else { "score n/a".to_owned() }
}

/// A picture inside the page. Large ones are embedded as JPEG, a fifth of the size; the run's folder has the PNG.
fn uri(png: &[u8]) -> String {
    match jpeg(png) {
        Some(jpeg) if jpeg.len() < png.len() => format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)),
        _ => format!("data:image/png;base64,{}", STANDARD.encode(png)),
    }
}

fn jpeg(png: &[u8]) -> Option<Vec<u8>> {
    let picture = image::load_from_memory(png).ok()?.to_rgb8();
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&picture).ok()?;
    Some(bytes)
}
