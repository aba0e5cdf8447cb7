//! Grids of pictures: localisation maps and activation maximisation.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{RgbImage, RgbaImage};
use serde::Serialize;

use super::super::info::{probe_label, probe_order};
use super::super::page::{Overlay, RenderingFigure};
use super::super::plot::short_number;
use super::super::select::sorted;
use super::super::survey::{SurveyGrid, SurveyPicture};

/// One table of pictures.
#[derive(Debug, Serialize)]
pub(super) struct Grid {
    title: String,
    /// What is told of every picture to those who do not see it.
    about: String,
    /// What a line is of.
    head: &'static str,
    columns: Vec<String>,
    lines: Vec<Line>,
}

impl Grid {
    /// Removes columns from the given one on that no line has pictures in.
    fn drop_empty(&mut self, from: usize) {
        for column in (from..self.columns.len()).rev() {
            if self.lines.iter().all(|line| line.cells[column].is_empty()) {
                self.columns.remove(column);
                self.lines.iter_mut().for_each(|line| drop(line.cells.remove(column)));
            }
        }
    }
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

/// Outcomes in the order shown, with heading.
const OUTCOMES: [(&str, &str); 5] = [
    ("true positive", "True positives"),
    ("false positive", "False positives"),
    ("false negative", "False negatives"),
    ("true negative", "True negatives"),
    ("second opinions", "Second opinions"),
];

/// A page holds at most this many maps: some five megabytes.
const MOST_MAPS: usize = 400;

/// The overlays that a page holds: where there are too many, those of the first probes, and of them the first examples.
pub(super) fn held(overlays: &[Overlay]) -> Vec<&Overlay> {
    let mut examples: HashMap<_, usize> = HashMap::new();
    let mut ranked: Vec<_> = overlays.iter().enumerate().collect();
    ranked.sort_by_cached_key(|(place, o)| {
        let cell = (&o.layer, &o.concept, &o.variant, &o.probe, &o.outcome);
        let example = examples.entry(cell).and_modify(|n| *n += 1).or_insert(0);
        (*example, probe_order(&o.probe), *place)
    });
    ranked.truncate(MOST_MAPS);
    ranked.sort_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, o)| o).collect()
}

/// The overlays of one concept, a grid for each layer and variant: probes down, outcomes across.
pub(super) fn overlays(own: &[&Overlay]) -> Vec<Grid> {
    let mut grids = Vec::new();
    for layer in sorted(own.iter().map(|o| o.layer.as_str())) {
        for variant in sorted(own.iter().filter(|o| o.layer == layer).map(|o| o.variant.as_str())) {
            let of: Vec<&Overlay> = own.iter().copied().filter(|o| o.layer == layer && o.variant == variant).collect();
            grids.push(overlay_grid(&of, format!("{layer}, {variant}")));
        }
    }
    grids
}

fn overlay_grid(own: &[&Overlay], title: String) -> Grid {
    // The three of the figure always have their column: an empty one says that there is no such picture.
    let shown = ["true positive", "false positive", "true negative"].into_iter();
    let mut outcomes = sorted(shown.chain(own.iter().map(|o| o.outcome.as_str())));
    outcomes.sort_by_key(|o| OUTCOMES.iter().position(|k| k.0 == *o).unwrap_or(OUTCOMES.len()));
    let mut probes = sorted(own.iter().map(|o| o.probe.as_str()));
    probes.sort_by_key(|p| probe_order(p));
    let cell = |probe: &str, outcome: &str| -> Vec<Picture> {
        own.iter().copied().filter(|o| o.probe == probe && o.outcome == outcome).map(overlay_picture).collect()
    };
    let line = |probe: &&str| Line {
        name: probe_label(probe).to_owned(),
        detail: String::new(),
        cells: outcomes.iter().map(|o| cell(probe, o)).collect(),
    };
    let heading = |o: &&str| OUTCOMES.iter().find(|k| k.0 == *o).map_or(*o, |k| k.1).to_owned();
    let concept = own.first().map_or("", |o| o.concept.as_str());
    Grid {
        about: format!("{concept}, {title}"),
        title,
        head: "Probe",
        columns: outcomes.iter().map(heading).collect(),
        lines: probes.iter().map(line).collect(),
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

/// The renderings, a grid a layer: concepts down, parameterisations and kinds of probe across, then all of them turned round; the
/// random direction, which is of no concept, stands below.
pub(super) fn renderings(renderings: &[&RenderingFigure]) -> Vec<Grid> {
    let of_layer = |layer: &str| renderings.iter().copied().filter(|r| r.layer == layer).collect::<Vec<_>>();
    let layers = sorted(renderings.iter().map(|r| r.layer.as_str()));
    layers.into_iter().map(|layer| rendering_grid(&of_layer(layer), layer)).collect()
}

fn rendering_grid(own: &[&RenderingFigure], layer: &str) -> Grid {
    let of_role = |role: &str| own.iter().copied().filter(|r| r.role == role).collect::<Vec<_>>();
    let [cavs, negatives, random, units] = ["cav", "negative", "random", "unit"].map(of_role);
    let [transparent, untrained, real] = ["transparent", "untrained", "real"].map(of_role);
    let mut probes = sorted(cavs.iter().map(|r| r.probe.as_str()));
    probes.sort_by_key(|p| probe_order(p));
    let several = !probes.is_empty();
    let made_of = made_of(own);
    // Units have one kind of picture, in the first column of a parameterisation, and no opposite.
    let kinds: Vec<&str> = match (several, units.is_empty()) {
        (true, _) => probes,
        (false, false) => vec!["unit"],
        // Random directions that stand alone: their concepts have grids of their own.
        (false, true) => vec!["random"],
    };
    let first: Vec<(Option<&str>, &str)> = made_of.iter().flat_map(|m| kinds.iter().map(move |k| (*m, *k))).collect();
    let is_first = |kind: &str| kinds.first().is_none_or(|first| *first == kind);
    let mut places: Vec<(&str, &str)> = Vec::new();
    for concept in sorted(cavs.iter().chain(&units).map(|r| r.concept.as_str())) {
        let of_concept = cavs.iter().chain(&units).filter(|r| r.concept == concept);
        places.extend(sorted(of_concept.map(|r| r.variant.as_str())).into_iter().map(|v| (concept, v)));
    }
    let line = |(concept, variant): &(&str, &str)| {
        let here = |r: &&&RenderingFigure| r.concept == *concept && r.variant == *variant;
        let cell = |(made_of, kind): &(Option<&str>, &str)| {
            let alike = |r: &&&RenderingFigure| r.parameter.as_deref() == *made_of;
            let of_probe = cavs.iter().filter(here).filter(alike).filter(|r| r.probe == *kind);
            let of_unit = units.iter().filter(here).filter(alike).filter(|_| is_first(kind));
            pictures(of_probe.chain(of_unit), Named::Seed)
        };
        let mut cells: Vec<Vec<Picture>> = first.iter().map(cell).collect();
        let of_units = if several { Named::Kind } else { Named::Parameter };
        let others =
            [(&transparent, of_units), (&negatives, Named::Kind), (&untrained, of_units), (&real, Named::Seed)];
        cells.extend(others.map(|(all, named)| pictures(all.iter().filter(here), named)));
        Line { name: (*concept).to_owned(), detail: (*variant).to_owned(), cells }
    };
    let mut lines: Vec<Line> = places.iter().map(line).collect();
    for variant in sorted(random.iter().map(|r| r.variant.as_str())) {
        let cell = |(made_of, kind): &(Option<&str>, &str)| {
            let here = |r: &&&RenderingFigure| r.variant == variant && r.parameter.as_deref() == *made_of;
            pictures(random.iter().filter(here).filter(|_| is_first(kind)), Named::Seed)
        };
        let mut cells: Vec<Vec<Picture>> = first.iter().map(cell).collect();
        cells.resize_with(first.len().max(1) + 4, Vec::new);
        lines.push(Line { name: "Random direction".to_owned(), detail: variant.to_owned(), cells });
    }
    let mut columns: Vec<String> = first.iter().map(|(made_of, kind)| heading(*made_of, kind)).collect();
    columns.extend(["Where it matters", "Turned round", "Untrained network", "Real pictures"].map(str::to_owned));
    let (title, about) = (layer.to_owned(), layer.to_owned());
    let mut grid = Grid { title, about, head: "Concept", columns, lines };
    grid.drop_empty(first.len().max(1));
    grid
}

/// The parameterisations in the order rendered; none named where there is one.
fn made_of<'a>(own: &[&'a RenderingFigure]) -> Vec<Option<&'a str>> {
    let mut out: Vec<Option<&str>> = Vec::new();
    for r in own.iter().filter(|r| r.role != "real") {
        if !out.contains(&r.parameter.as_deref()) {
            out.push(r.parameter.as_deref());
        }
    }
    out
}

fn heading(made_of: Option<&str>, kind: &str) -> String {
    let kind = if kind == "unit" { "Unit" } else { probe_label(kind) };
    made_of.map_or(kind.to_owned(), |made_of| format!("{kind}, {made_of}"))
}

/// What a picture's caption tells that its column does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Seed,
    Parameter,
    /// The kind of probe and the parameterisation.
    Kind,
}

/// One cell, by kind, parameterisation and seed.
fn pictures<'a>(of: impl Iterator<Item = &'a &'a RenderingFigure>, named: Named) -> Vec<Picture> {
    let mut cell: Vec<&RenderingFigure> = of.copied().collect();
    cell.sort_by_key(|r| (probe_order(&r.probe), &r.parameter, r.seed));
    let picture = |r: &RenderingFigure| {
        let mut picture = rendering_picture(r);
        let kind = (named == Named::Kind).then(|| probe_label(&r.probe));
        let made_of = r.parameter.as_deref().filter(|_| named != Named::Seed);
        picture.caption =
            kind.into_iter().chain(made_of).chain([picture.caption.as_str()]).collect::<Vec<_>>().join(", ");
        picture
    };
    cell.into_iter().map(picture).collect()
}

fn rendering_picture(r: &RenderingFigure) -> Picture {
    let percentile = r.percentile.filter(|p| p.is_finite()).map(|p| format!(" · above {p:.0} % of positives"));
    Picture {
        data: uri(&r.png),
        file: r.file.clone(),
        caption: if r.role == "real" { format!("real {}", r.seed + 1) } else { format!("seed {}", r.seed) },
        detail: score(r.score) + &percentile.unwrap_or_default(),
        note: r.note.clone().unwrap_or_default(),
    }
}

/// The pictures of a survey, a grid a network: layers down, units across, what each asks for beside the real picture that it
/// scores highest.
pub(super) fn survey(grids: &[SurveyGrid]) -> Vec<Grid> {
    let grid = |g: &SurveyGrid| {
        let widest = g.layers.iter().map(|(_, pictures)| pictures.len()).max().unwrap_or(0);
        let line = |(layer, pictures): &(String, Vec<SurveyPicture>)| {
            let cell = |i: usize| pictures.get(i).map_or_else(Vec::new, survey_pair);
            Line { name: layer.clone(), detail: String::new(), cells: (0..widest).map(cell).collect() }
        };
        Grid {
            title: g.network.clone(),
            about: g.network.clone(),
            head: "Layer",
            columns: (1..=widest).map(|i| format!("Unit {i}")).collect(),
            lines: g.layers.iter().map(line).collect(),
        }
    };
    grids.iter().map(grid).collect()
}

fn survey_pair(p: &SurveyPicture) -> Vec<Picture> {
    let picture = |png: &[u8], caption: &str, note: &str| Picture {
        data: uri(png),
        file: String::new(),
        caption: caption.to_owned(),
        detail: p.unit.clone(),
        note: note.to_owned(),
    };
    vec![picture(&p.rendered, "asked for", &p.remark), picture(&p.real, "real", "")]
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

/// A picture without transparency, as it looks on white.
fn on_white(picture: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, alpha] = picture.get_pixel(x, y).0.map(f32::from);
        image::Rgb([r, g, b].map(|v| (255.0 + (v - 255.0) * alpha / 255.0).round() as u8))
    })
}

fn jpeg(png: &[u8]) -> Option<Vec<u8>> {
    let picture = on_white(&image::load_from_memory(png).ok()?.to_rgba8());
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&picture).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::super::demo;
    use super::*;

    #[test]
    fn random_directions_alone_have_their_pictures() {
        let rows = demo::rows(&demo::Size::small());
        let page = demo::page(&rows, &demo::Size::small());
        let random: Vec<&RenderingFigure> = page.renderings.iter().filter(|r| r.role == "random").collect();
        let grids = renderings(&random);
        assert_eq!((grids.len(), grids[0].columns.as_slice()), (1, &["Random direction".to_owned()][..]));
        assert_eq!((grids[0].lines.len(), grids[0].lines[0].cells.len()), (1, 1));
        assert!(!grids[0].lines[0].cells[0].is_empty());
    }
}
