//! The attacks of a survey: every network with a layer to attack by, the others of its data looking on.

use candle_core::Device;

use super::Field;
use super::data::Pictures;
use super::subject::Subject;
use crate::error::Result;
use crate::model::Graph;
use crate::report::survey::SurveyAttackRow;
use crate::seed::Seed;
use crate::stage::Progress;
use crate::stage::attack::{Attack, Method, Summary};
use crate::store::digest::{Digest, DigestBuilder};
use crate::study::SurveyAttack;

const KIND: &str = "survey-attack";
const TABLE: &str = "attacks.json";

/// Every attack: an aimed row, then the change of the same size without an aim, and so on.
///
/// # Errors
/// When a layer does not exist, a picture cannot be read or a network fails.
pub(super) fn attacks(field: &Field<'_>) -> Result<Vec<SurveyAttackRow>> {
    let Some(options) = &field.survey.attack else { return Ok(Vec::new()) };
    let attacked: Vec<&Subject<'_>> = field.subjects.iter().filter(|s| s.spec.attack_layer.is_some()).collect();
    let count = |s: &Subject<'_>| field.survey.data[&s.spec.data].attacked.unwrap_or(options.pictures);
    let passes = |s: &Subject<'_>| (2 * options.epsilons.len() + 1) * count(s);
    let cost = |s: &Subject<'_>| 2 * options.steps * s.look();
    let total = attacked.iter().map(|s| cost(s) * passes(s)).sum();
    let mut progress = Progress::start("attack", "million multiply-adds", total)?;
    let mut rows = Vec::new();
    for subject in &attacked {
        progress.weigh(cost(subject));
        let alike = |s: &&&Subject<'_>| {
            let same = s.spec.data == subject.spec.data && s.graph.input_shape() == subject.graph.input_shape();
            same && s.name != subject.name
        };
        let others: Vec<Graph> = attacked.iter().filter(alike).map(|s| s.graph.clone()).collect();
        let pictures = &field.pictures[subject.spec.data.as_str()];
        let options = &SurveyAttack { pictures: count(subject), ..options.clone() };
        let key = key(field, options, subject, pictures, &others)?;
        if field.store.has(KIND, &key) {
            progress.find(passes(subject));
        }
        let made = field.store.get_or_make(KIND, &key, serde_json::json!({ "network": subject.name }), |draft| {
            let seed = Seed(field.survey.seed);
            let rows = made(options, subject, pictures, &field.device, &others, seed, |n| progress.step(n))?;
            draft.write_json(TABLE, &rows)
        })?;
        rows.extend(made.read_json::<Vec<SurveyAttackRow>>(TABLE)?);
        progress.keep()?;
    }
    progress.finish();
    Ok(rows)
}

fn key(
    field: &Field<'_>,
    options: &SurveyAttack,
    subject: &Subject<'_>,
    pictures: &Pictures,
    others: &[Graph],
) -> Result<Digest> {
    let others: Vec<&Digest> = others.iter().map(Graph::digest).collect();
    DigestBuilder::new("survey attack v1")
        .field("name", subject.name)
        .field("data", &subject.spec.data)
        .field("network", subject.graph.digest().as_str())
        .json("preprocess", subject.graph.preprocess())?
        .json("classes", &subject.graph.classes())?
        .json("layer", &subject.spec.attack_layer)?
        .json("others", &others)?
        .field("pictures", pictures.digest()?.as_str())
        .json("options", options)?
        .json("seed", &field.survey.seed)?
        .field("device", if field.device.is_cpu() { "cpu" } else { "cuda" })
        .finish_ok()
}

fn made(
    options: &SurveyAttack,
    subject: &Subject<'_>,
    pictures: &Pictures,
    device: &Device,
    others: &[Graph],
    seed: Seed,
    mut done: impl FnMut(usize),
) -> Result<Vec<SurveyAttackRow>> {
    let attack = Attack {
        graph: &subject.graph,
        device,
        others,
        epsilons: &options.epsilons,
        steps: options.steps,
        layer: subject.spec.attack_layer.clone(),
        target: None,
        seed,
    };
    let outcome = attack.run(&pictures.spread(&subject.graph, options.pictures)?, &Method::ALL, |pictures| {
        done(pictures);
        Ok(())
    })?;
    Ok(outcome.summaries().iter().map(|summary| row(subject, summary)).collect())
}

fn row(subject: &Subject<'_>, s: &Summary) -> SurveyAttackRow {
    let count = |share: f64| (share * s.n as f64).round() as usize;
    SurveyAttackRow {
        network: subject.name.to_owned(),
        data: subject.spec.data.clone(),
        method: s.method.name().to_owned(),
        control: s.control,
        strength: s.strength,
        n: s.n,
        reached: count(s.success[0]),
        changed: count(s.flipped[0]),
        confidence: s.confidence,
        change: s.means[0],
        norm: s.means[1],
        psnr: s.means[2],
        ssim: s.means[3],
        transfer: s.transfer.iter().sum::<f64>() / s.transfer.len() as f64,
    }
}
