//! What of a survey is shown, and where it is written.

use std::path::Path;

use image::RgbImage;
use image::imageops::{FilterType, resize};

use super::Field;
use super::data::Pictures;
use super::real::Real;
use super::subject::Subject;
use crate::error::{Error, Result};
use crate::maximise::{Planes, png};
use crate::report::survey::{SurveyGrid, SurveyPage, SurveyPicture, survey_tables};
use crate::report::{survey_figures, survey_html};
use crate::store::file::write_atomic;
use crate::study::SurveyAscents;

/// Units of a layer whose pictures are shown.
const SHOWN: usize = 3;
/// Largest side of a picture in the page, in pixels.
const SIDE: u32 = 96;

/// A page with nothing measured yet.
pub(super) fn opening(field: &Field<'_>) -> Result<SurveyPage> {
    let survey = field.survey;
    let toml = toml::to_string(survey).map_err(|e| Error::Failure(format!("the survey has no TOML form: {e}")))?;
    let facts = [
        ("cavern", env!("CARGO_PKG_VERSION").to_owned()),
        ("seed", survey.seed.to_string()),
        ("threshold", format!("{} of the real pictures stay below", survey.percentile)),
        ("device", if field.device.is_cpu() { "cpu".to_owned() } else { "cuda".to_owned() }),
    ];
    let of_data = |(name, p): (&&str, &Pictures)| {
        let SurveyAscents { units, learning_rates, maximise } = survey.ascents(name);
        let value = format!(
            "{} pictures; {units} units a layer, {} seeds, {} steps, step sizes {learning_rates:?}",
            p.len(),
            maximise.seeds,
            maximise.steps
        );
        (format!("data `{name}`"), value)
    };
    let data = field.pictures.iter().map(of_data);
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(data).collect();
    Ok(SurveyPage {
        title: survey.name.clone(),
        about: survey.about.clone(),
        facts,
        text: toml,
        ..SurveyPage::default()
    })
}

/// The first units of every layer, with what they ask for beside the real picture they score highest.
pub(super) fn grid(field: &Field<'_>, subject: &Subject<'_>, real: &Real, rendered: &[Planes]) -> Result<SurveyGrid> {
    let (pictures, seeds) = (&field.pictures[subject.spec.data.as_str()], rendered.len() / subject.units.len().max(1));
    let mut layers: Vec<(String, Vec<SurveyPicture>)> = Vec::new();
    for (i, unit) in subject.units.iter().enumerate() {
        if layers.last().is_none_or(|(layer, _)| *layer != unit.layer) {
            layers.push((unit.layer.clone(), Vec::new()));
        }
        let Some((_, shown)) = layers.last_mut() else { continue };
        let (Some(first), true) = (real.units[i].exemplars.first(), shown.len() < SHOWN) else { continue };
        let exemplar = pictures.seen(&subject.graph, *first..first + 1)?.remove(0).to_image();
        shown.push(SurveyPicture {
            unit: unit.text.clone(),
            remark: if real.units[i].is_dead() { "dead".to_owned() } else { String::new() },
            rendered: small(&rendered[i * seeds].image())?,
            real: small(&exemplar)?,
        });
    }
    Ok(SurveyGrid { network: subject.name.to_owned(), layers })
}

fn small(picture: &RgbImage) -> Result<Vec<u8>> {
    let side = picture.width().max(picture.height());
    if side <= SIDE {
        return png(picture);
    }
    let scaled = |length: u32| (length * SIDE / side).max(1);
    png(&resize(picture, scaled(picture.width()), scaled(picture.height()), FilterType::Triangle))
}

/// Writes tables, figures, pictures and page.
pub(super) fn write(folder: &Path, page: &SurveyPage) -> Result<()> {
    for (name, bytes) in survey_tables(page)? {
        write_atomic(&folder.join(name), &bytes)?;
    }
    let figures = survey_figures(page)?;
    for (name, svg) in &figures {
        write_atomic(&folder.join("figures").join(name), svg.as_bytes())?;
    }
    for grid in &page.grids {
        for picture in grid.layers.iter().flat_map(|(_, pictures)| pictures) {
            let plain = |c: char| if c.is_alphanumeric() || ".-_".contains(c) { c } else { '-' };
            let name: String = format!("{}-{}", grid.network, picture.unit).chars().map(plain).collect();
            write_atomic(&folder.join("pictures").join(format!("{name}.png")), &picture.rendered)?;
            write_atomic(&folder.join("pictures").join(format!("{name}-real.png")), &picture.real)?;
        }
    }
    write_atomic(&folder.join("report.html"), survey_html(page, &figures)?.as_bytes())
}
