//! The last stage: tables, figures, pictures and one page in the run's folder.

use serde_json::json;

use super::maximise::{Exemplar, Role};
use super::statistics::statistics;
use super::{Context, Layer, Progress, fit, fitted, localise, maximise, overlays, score, sensitivity, training};
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::Result;
use crate::metric::direction::{cosine, spatial_norms};
use crate::model::recipe::SourceFile;
use crate::model::train::Curve;
use crate::probe::{Cav, ImageScore, Variant};
use crate::report::{
    self, Comparison, ConceptCount, Correlation, CosineMatrix, MetricRow, NormMap, Page, Refusal, RenderingFigure,
    SampleRow, Trace,
};
use crate::store::file::{Stamp, to_json, write_atomic};

/// How the pictures differ from the numbers.
const MAP_NOTE: &str = "Maps are drawn less their mean over the test pictures, so that what is particular to a picture \
                        shows. The localisation scores are those of the maps themselves.";
/// Version of the tables' columns.
const SCHEMA: u32 = 1;

/// Writes everything.
///
/// # Errors
/// When an artifact is missing, or the folder cannot be written.
pub fn run(context: &Context) -> Result<()> {
    // Once begun it is written whole: tables, figures and page belong together.
    let mut progress = Progress::start("report", "steps", 4)?;
    // The manifest is to name the very files that the numbers are of.
    context.stamps.iter().try_for_each(Stamp::check)?;
    let gathered = Gathered::of(context)?;
    progress.step(1);
    write_tables(context, &gathered)?;
    progress.step(1);
    let page = page(context, &gathered)?;
    progress.step(1);
    write_page(context, &page)?;
    progress.step(1);
    progress.finish();
    Ok(())
}

/// What the stages before have made, and what follows from it.
#[derive(Default)]
struct Gathered {
    fitted: Vec<(usize, Variant, fitted::Fitted)>,
    metrics: Vec<MetricRow>,
    samples: Vec<SampleRow>,
    comparisons: Vec<Comparison>,
    correlations: Vec<Correlation>,
    asked: sensitivity::Shown,
    maximised: maximise::Shown,
}

impl Gathered {
    fn of(context: &Context) -> Result<Self> {
        let (asked, maximised) = (sensitivity::get(context)?, maximise::get(context)?);
        let mut all = Self { asked, maximised, ..Self::default() };
        for (layer, variant) in context.units() {
            all.fitted.push((layer, variant, fit::get(context, layer, variant)?.1));
            let scored = score::get(context, layer, variant)?;
            all.metrics.extend(scored.metrics);
            all.samples.extend(scored.samples);
        }
        all.metrics.append(&mut all.asked.metrics);
        all.metrics.append(&mut all.maximised.judged.metrics);
        (all.comparisons, all.correlations) = statistics(context, &all.metrics, &all.samples);
        Ok(all)
    }

    fn cavs(&self) -> impl Iterator<Item = &Cav> {
        self.fitted.iter().flat_map(|(_, _, f)| &f.cavs)
    }
}

fn write_tables(context: &Context, gathered: &Gathered) -> Result<()> {
    let write = |name: &str, bytes: &[u8]| write_atomic(&context.folder.join(name), bytes);
    write("metrics.csv", &report::metrics_csv(&gathered.metrics)?)?;
    write("metrics.parquet", &report::metrics_parquet(&gathered.metrics)?)?;
    write("comparisons.csv", &report::comparisons_csv(&gathered.comparisons)?)?;
    write("comparisons.parquet", &report::comparisons_parquet(&gathered.comparisons)?)?;
    write("correlations.csv", &report::correlations_csv(&gathered.correlations)?)?;
    write("samples.parquet", &report::samples_parquet(&gathered.samples)?)?;
    let named: Vec<(String, &Cav)> = gathered.cavs().filter(|c| c.kernel.is_none()).map(|c| (name(c), c)).collect();
    write("cavs.safetensors", &fitted::tensors(&named, Some(provenance(context, &named)?))?)?;
    write("study.toml", study_text(context).as_bytes())?;
    write("manifest.json", &to_json(&manifest(context)?)?)
}

/// The study with every default, as it was run.
fn study_text(context: &Context) -> String {
    toml::to_string_pretty(&context.study).unwrap_or_default()
}

/// `layer/concept/probe/variant`: a direction's name in `cavs.safetensors`.
fn name(cav: &Cav) -> String {
    format!("{}/{}/{}/{}", cav.layer, cav.concept, cav.probe, cav.variant.name())
}

/// What is known of every direction, as JSON by name.
fn provenance(context: &Context, named: &[(String, &Cav)]) -> Result<String> {
    let model = context.graph.as_ref().map_or("imported", |g| g.digest().as_str());
    let cavs: serde_json::Map<String, serde_json::Value> = named.iter().map(|(n, c)| (n.clone(), json!(c))).collect();
    let value = json!({
        "model": context.study.model.name, "model_digest": model, "precision": context.study.activation.precision, "seed": context.study.seed,
        "samples_digest": context.samples_digest()?, "version": env!("CARGO_PKG_VERSION"), "cavs": cavs,
    });
    Ok(value.to_string())
}

fn manifest(context: &Context) -> Result<serde_json::Value> {
    let skipped = context.dataset.skipped();
    Ok(json!({
        "cavern": env!("CARGO_PKG_VERSION"),
        "schema": SCHEMA,
        "study": context.study,
        "study_digest": context.study.digest()?,
        "samples_digest": context.samples_digest()?,
        "model_digest": context.graph.as_ref().map(|g| g.digest().clone()),
        "model_files": model_files(context)?,
        "preprocess": context.preprocess(),
        "device": if context.device.is_cpu() { "cpu" } else { "cuda" },
        "layers": context.layers.iter().map(|l| json!({ "name": l.name, "shape": l.shape })).collect::<Vec<_>>(),
        "samples": counts(context),
        "skipped": skipped,
    }))
}

/// The files the network was built from.
fn model_files(context: &Context) -> Result<Vec<SourceFile>> {
    if context.graph.is_some() { context.study.model.recipe().files() } else { Ok(Vec::new()) }
}

/// How many samples of each part have, lack, or may have each concept.
fn counts(context: &Context) -> Vec<ConceptCount> {
    let mut out = Vec::new();
    for (number, concept) in context.concepts().iter().enumerate() {
        for part in [Part::Fit, Part::Val, Part::Test, Part::Out] {
            let samples = context.part(part);
            let of = |presence: Presence| {
                samples.iter().filter(|s| context.dataset.samples()[**s].presence[number] == presence).count()
            };
            out.push(ConceptCount {
                concept: concept.clone(),
                part: part.name().to_owned(),
                present: of(Presence::Present),
                absent: of(Presence::Absent),
                unknown: of(Presence::Unknown),
            });
        }
    }
    out
}

fn page<'a>(context: &'a Context, gathered: &'a Gathered) -> Result<Page<'a>> {
    let renderings = &gathered.maximised.pictures;
    let curve = if context.graph.is_some() { context.study.model.recipe().curve()? } else { None };
    let skipped = context.dataset.skipped().iter().map(|s| (s.path.display().to_string(), s.reason.clone()));
    let traces = renderings.iter().map(|(r, _)| Trace { label: label(r), values: r.trace.clone() }).collect();
    let pictures: Vec<_> = renderings.iter().map(|(r, png)| figure(gathered, r, png.clone())).collect();
    Ok(Page {
        title: &context.study.name,
        about: &context.study.about,
        facts: [facts(context, curve.as_ref()), provenance_facts(context)?].concat(),
        study_text: study_text(context),
        counts: counts(context),
        refusals: refusals(context, gathered)?,
        rows: &gathered.metrics,
        comparisons: gathered.comparisons.clone(),
        correlations: gathered.correlations.clone(),
        kinds: kinds(context),
        norms: norms(context, gathered),
        overlays: [overlays::draw(context, &gathered.fitted)?, gathered.asked.overlays.clone()].concat(),
        traces,
        renderings: [pictures, transparent(gathered), exemplars(context, gathered)?].concat(),
        cosines: cosines(context, gathered),
        training: curve.as_ref().map(training::panels).unwrap_or_default(),
        skipped: skipped.collect(),
        notes: vec![MAP_NOTE.to_owned()],
    })
}

fn facts(context: &Context, curve: Option<&Curve>) -> Vec<(String, String)> {
    let count = |part: Part| context.part(part).len();
    let weights = context.graph.as_ref().map_or("imported activations", |g| g.digest().short());
    let precision = context.graph.as_ref().map_or("as imported", |_| context.study.activation.precision.name());
    let layers = context.layers.iter().map(|l| format!("{} {:?}", l.name, l.shape)).collect::<Vec<_>>();
    let test = context.part(Part::Test);
    let blocks: std::collections::BTreeSet<usize> = test.iter().map(|s| context.split.block[*s]).collect();
    let mut facts = vec![
        ("Model", format!("{} (weights {weights})", context.study.model.name)),
        ("Layers", layers.join(", ")),
        ("Precision", precision.to_owned()),
        ("Samples", format!("{} in all", context.dataset.samples().len())),
        (
            "Split",
            format!(
                "{} fit, {} validation, {} test (in {} blocks), {} left out between blocks",
                count(Part::Fit),
                count(Part::Val),
                test.len(),
                blocks.len(),
                count(Part::Out)
            ),
        ),
        ("Probes", context.study.probe.kinds.join(", ")),
        ("Seed", context.study.seed.to_string()),
        ("Intervals", format!("95 %, bootstrap of blocks, {} resamples", context.study.score.bootstrap)),
        ("cavern", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if let Some(summary) = curve.and_then(training::summary) {
        facts.insert(1, ("Training", summary));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the run was made from, to the byte, and the command that makes it again.
fn provenance_facts(context: &Context) -> Result<Vec<(String, String)>> {
    let mut facts = vec![
        ("Study digest".to_owned(), context.study.digest()?.to_string()),
        ("Samples digest".to_owned(), context.samples_digest()?.to_string()),
    ];
    if let Some(graph) = &context.graph {
        facts.push(("Network digest".to_owned(), graph.digest().to_string()));
    }
    let file = |f: SourceFile| (format!("File {}", f.name), format!("{} bytes, blake3 {}", f.bytes, f.digest.as_str()));
    facts.extend(model_files(context)?.into_iter().map(file));
    facts.push((
        "Made again by".to_owned(),
        "cavern run study.toml, with the study.toml of this folder, from the folder in which it was first run"
            .to_owned(),
    ));
    Ok(facts)
}

fn refusals(context: &Context, gathered: &Gathered) -> Result<Vec<Refusal>> {
    let mut all = Vec::new();
    for (layer, variant, fitted) in &gathered.fitted {
        let of_maps = localise::refused(context, *layer, *variant)?;
        all.extend(fitted.refused.iter().cloned().chain(of_maps).map(|r| Refusal {
            layer: context.layers[*layer].name.clone(),
            variant: variant.name(),
            concept: r.concept,
            probe: r.probe,
            reason: r.reason,
        }));
    }
    all.extend(gathered.asked.refusals.iter().cloned());
    Ok(all)
}

fn label(r: &maximise::Rendered) -> String {
    format!("{} seed {}", r.label(), r.seed)
}

fn figure(gathered: &Gathered, r: &maximise::Rendered, png: Vec<u8>) -> RenderingFigure {
    RenderingFigure {
        percentile: (r.role == Role::Cav).then(|| percentile(gathered, r)).flatten(),
        layer: r.layer.clone(),
        concept: r.concept.clone(),
        probe: r.probe.clone(),
        variant: r.form(),
        role: r.role.name().to_owned(),
        parameter: r.parameter.map(|p| p.name().to_owned()),
        seed: r.seed,
        score: r.score,
        note: r.diagnosis.clone(),
        file: format!("maximised/{}.png", file_name(&label(r))),
        png,
    }
}

/// The pictures of directions and units once more, seen through where they do not matter.
fn transparent(gathered: &Gathered) -> Vec<RenderingFigure> {
    let wanted = gathered.maximised.transparent.iter().filter(|(r, _)| matches!(r.role, Role::Cav | Role::Unit));
    let figure = |(r, png): &(maximise::Rendered, Vec<u8>)| RenderingFigure {
        role: "transparent".to_owned(),
        file: format!("maximised/{}-alpha.png", file_name(&label(r))),
        ..figure(gathered, r, png.clone())
    };
    wanted.map(figure).collect()
}

/// The real pictures beside those of directions and units; controls have none.
fn exemplars(context: &Context, gathered: &Gathered) -> Result<Vec<RenderingFigure>> {
    let wanted =
        gathered.maximised.judged.exemplars.iter().filter(|e| matches!(e.rendered.role, Role::Cav | Role::Unit));
    let figure = |e: &Exemplar| {
        Ok(RenderingFigure {
            percentile: None,
            role: "real".to_owned(),
            seed: e.rank as u64,
            score: e.score,
            note: Some(e.name.clone()),
            file: format!("maximised/{}-real-{}.png", file_name(&e.rendered.label()), e.rank),
            ..figure(gathered, &e.rendered, maximise::real(context, e)?)
        })
    };
    wanted.map(figure).collect()
}

/// A label as part of a file's name.
fn file_name(label: &str) -> String {
    label.replace([' ', '/', ':'], "-")
}

/// Share of the test samples with the concept that score below the picture, in percent.
fn percentile(gathered: &Gathered, r: &maximise::Rendered) -> Option<f64> {
    let real = gathered.samples.iter().filter(|s| {
        s.present && s.layer == r.layer && s.concept == r.concept && s.probe == r.probe && s.variant == r.form()
    });
    // A picture's score is the mean over positions: there is none to hold against scores that are not.
    let other = |cav: &&Cav| cav.probe == r.probe && cav.concept == r.concept && cav.image_score != ImageScore::Mean;
    if gathered
        .fitted
        .iter()
        .any(|(_, variant, fitted)| Some(*variant) == r.variant && fitted.cavs.iter().any(|c| other(&c)))
    {
        return None;
    }
    let scores: Vec<f64> = real.map(|s| s.score).collect();
    let below = scores.iter().filter(|s| **s < r.score + r.bias).count();
    (!scores.is_empty() && r.score.is_finite()).then(|| 100.0 * below as f64 / scores.len() as f64)
}

fn cosines(context: &Context, gathered: &Gathered) -> Vec<CosineMatrix> {
    let mut out = Vec::new();
    for (layer, variant, fitted) in &gathered.fitted {
        for concept in context.concepts() {
            let directed = |c: &&Cav| c.concept == *concept && c.kernel.is_none();
            let cavs: Vec<&Cav> = fitted.cavs.iter().filter(directed).collect();
            let row = |a: &Cav| cavs.iter().map(|b| cosine(&a.direction, &b.direction)).collect();
            if cavs.is_empty() {
                continue;
            }
            out.push(CosineMatrix {
                layer: context.layers[*layer].name.clone(),
                concept: concept.clone(),
                variant: variant.name(),
                names: cavs.iter().map(|c| c.probe.clone()).collect(),
                values: cavs.iter().map(|c| row(c)).collect(),
            });
        }
    }
    out
}

/// The concepts whose kind is known.
fn kinds(context: &Context) -> Vec<(String, String)> {
    let kind = |(i, name): (usize, &String)| Some((name.clone(), context.kind(i)?.to_owned()));
    context.concepts().iter().enumerate().filter_map(kind).collect()
}

/// Where the weights of full directions lie: the mean over classifiers from different draws, then every kind's own.
fn norms(context: &Context, gathered: &Gathered) -> Vec<NormMap> {
    let mut out = Vec::new();
    for (layer, _, fitted) in gathered.fitted.iter().filter(|(_, variant, _)| *variant == Variant::Full) {
        let Layer { name, shape, .. } = &context.layers[*layer];
        let (grid, positions) = ((shape[1], shape[2]), shape[1] * shape[2]);
        let mut push = |concept: &str, label: &str, directions: &[&[f32]]| {
            if !directions.is_empty() && positions > 1 {
                let norms = spatial_norms(directions, positions);
                out.push(NormMap {
                    layer: name.clone(),
                    concept: concept.to_owned(),
                    label: label.to_owned(),
                    grid,
                    norms,
                });
            }
        };
        for concept in context.concepts() {
            let draws = fitted.references.iter().filter(|c| c.concept == *concept);
            push(concept, "mean of draws", &draws.map(|c| c.direction.as_slice()).collect::<Vec<_>>());
            for cav in fitted.cavs.iter().filter(|c| c.concept == *concept) {
                push(concept, report::probe_label(&cav.probe), &[&cav.direction]);
            }
        }
    }
    out
}

fn write_page(context: &Context, page: &Page<'_>) -> Result<()> {
    let figures = report::figures(page)?;
    for (name, svg) in &figures {
        write_atomic(&context.folder.join("figures").join(name), svg.as_bytes())?;
    }
    let pictures = page.overlays.iter().map(|o| (&o.file, &o.png));
    for (file, png) in pictures.chain(page.renderings.iter().map(|r| (&r.file, &r.png))) {
        write_atomic(&context.folder.join(file), png)?;
    }
    write_atomic(&context.folder.join("report.html"), report::html(page, &figures)?.as_bytes())
}
