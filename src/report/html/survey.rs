//! The page of a survey.

use serde::Serialize;

use super::super::plot::short_number;
use super::super::survey::{Claim, ClaimKind, SurveyAttackRow, SurveyNetworkRow, SurveyPage, measures};
use super::pictures::{self, Grid};
use super::{Drawing, STYLE, drawings, rendered};
use crate::error::Result;
use crate::metric::claim::Verdict;

const TEMPLATE: &str = include_str!("../../../reports/survey.html");

/// Everything the template names.
#[derive(Debug, Serialize)]
struct Context<'a> {
    style: &'static str,
    title: &'a str,
    about: &'a str,
    facts: &'a [(String, String)],
    text: &'a str,
    claims: Vec<ClaimSection<'a>>,
    networks: Vec<NetworkLine<'a>>,
    rates: Vec<String>,
    depth: Vec<Drawing<'a>>,
    size: Vec<Drawing<'a>>,
    attacks: Vec<AttackLine<'a>>,
    grids: Vec<Grid>,
}

/// A claim with all of its tests.
#[derive(Debug, Serialize)]
struct ClaimSection<'a> {
    sentence: &'static str,
    /// One sentence a measure.
    outcomes: Vec<String>,
    drawings: Vec<Drawing<'a>>,
    lines: Vec<ClaimLine<'a>>,
}

#[derive(Debug, Serialize)]
struct ClaimLine<'a> {
    about: &'a str,
    data: &'a str,
    measure: &'a str,
    effect: String,
    n: usize,
    claimed: &'static str,
    verdict: &'static str,
    shown: bool,
    control: bool,
}

#[derive(Debug, Serialize)]
struct NetworkLine<'a> {
    network: &'a str,
    data: &'a str,
    family: String,
    parameters: String,
    accuracy: String,
    dead: String,
    /// By step size: failures and steps, and whether it is the best.
    sweeps: Vec<(String, bool)>,
}

#[derive(Debug, Serialize)]
struct AttackLine<'a> {
    network: &'a str,
    method: String,
    strength: String,
    reached: String,
    without_aim: String,
    changed: String,
    confidence: String,
    norm: String,
    psnr: String,
    ssim: String,
    transfer: String,
}

/// Fills the template. `figures` are [`super::super::survey_figures`] of the same page.
///
/// # Errors
/// When the template cannot be rendered.
pub fn survey_html(page: &SurveyPage, figures: &[(String, String)]) -> Result<String> {
    let mut rates: Vec<f64> = page.networks.iter().flat_map(|n| n.sweeps.iter().map(|s| s.learning_rate)).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let section = |kind: ClaimKind| section(page, kind, figures);
    let context = Context {
        style: STYLE,
        title: &page.title,
        about: &page.about,
        facts: &page.facts,
        text: &page.text,
        claims: ClaimKind::ALL.into_iter().map(section).collect(),
        networks: page.networks.iter().map(|n| network(n, &rates)).collect(),
        rates: rates.iter().map(ToString::to_string).collect(),
        depth: drawings(figures, "depth"),
        size: drawings(figures, "size"),
        attacks: page.attacks.chunks(2).filter_map(attack).collect(),
        grids: pictures::survey(&page.grids),
    };
    rendered(TEMPLATE, &context)
}

fn section<'a>(page: &'a SurveyPage, kind: ClaimKind, figures: &'a [(String, String)]) -> ClaimSection<'a> {
    let own: Vec<&Claim> = page.claims.iter().filter(|c| c.kind == kind).collect();
    let measures = measures(own.iter().copied());
    ClaimSection {
        sentence: kind.sentence(),
        outcomes: measures.iter().map(|measure| outcome(&own, measure)).collect(),
        drawings: drawings(figures, &format!("claim-{}", kind.name())),
        lines: own.into_iter().map(line).collect(),
    }
}

/// How the tests by one measure came out, in words; controls are counted apart.
fn outcome(claims: &[&Claim], measure: &str) -> String {
    let count = |control: bool, verdict: Option<Verdict>| {
        let of = |c: &&&Claim| c.measure == measure && c.control == control;
        claims.iter().filter(of).filter(|c| verdict.is_none_or(|v| c.verdict() == v)).count()
    };
    let all = count(false, None);
    let [shown, against, open] =
        [Verdict::Shown, Verdict::Against, Verdict::Open].map(|verdict| count(false, Some(verdict)));
    let controls = match count(true, None) {
        0 => String::new(),
        n => format!(" Without anything learnt, it showed in {} of {n}.", count(true, Some(Verdict::Shown))),
    };
    format!(
        "{measure}: as claimed in {shown} of {all}, the other way round in {against}, undecided in {open}.{controls}"
    )
}

fn line(c: &Claim) -> ClaimLine<'_> {
    let (e, number) = (&c.effect, short_number);
    let effect = if e.low.is_finite() {
        format!("{} [{}, {}]", number(e.value), number(e.low), number(e.high))
    } else {
        format!("{}, too few units for an interval", number(e.value))
    };
    ClaimLine {
        about: &c.about,
        data: &c.data,
        measure: &c.measure,
        effect,
        n: e.n,
        claimed: if c.falls { "negative" } else { "positive" },
        verdict: c.verdict().name(),
        shown: c.verdict() == Verdict::Shown && !c.control,
        control: c.control,
    }
}

fn share(value: f64) -> String {
    if value.is_finite() { format!("{:.1} %", 100.0 * value) } else { "n/a".to_owned() }
}

fn network<'a>(n: &'a SurveyNetworkRow, rates: &[f64]) -> NetworkLine<'a> {
    let sweep = |rate: &f64| {
        let found = n.sweeps.iter().position(|s| s.learning_rate == *rate);
        found.map_or((String::new(), false), |i| {
            let s = &n.sweeps[i];
            (format!("{} fail, {:.1} steps", share(s.failed), s.mean_steps), i == n.best)
        })
    };
    NetworkLine {
        network: &n.network,
        data: &n.data,
        family: if n.untrained { format!("{}, untrained", n.family) } else { n.family.clone() },
        parameters: n.parameters.to_string(),
        accuracy: share(n.accuracy),
        dead: format!("{} of {}", n.units[1], n.units[0]),
        sweeps: rates.iter().map(sweep).collect(),
    }
}

/// An attack with its control.
fn attack(pair: &[SurveyAttackRow]) -> Option<AttackLine<'_>> {
    let [aimed, control] = pair else { return None };
    let of = |r: &SurveyAttackRow| format!("{} of {}", r.reached, r.n);
    let number = |v: f64| if v.is_finite() { short_number(v) } else { "n/a".to_owned() };
    Some(AttackLine {
        network: &aimed.network,
        method: aimed.method.clone(),
        strength: if aimed.method == "blend" {
            format!("{:.2} mixed in", aimed.strength)
        } else {
            format!("{}/255", aimed.strength)
        },
        reached: of(aimed),
        without_aim: of(control),
        changed: format!("{} of {}", aimed.changed, aimed.n),
        confidence: number(aimed.confidence),
        norm: number(aimed.norm),
        psnr: number(aimed.psnr),
        ssim: number(aimed.ssim),
        transfer: if aimed.transfer.is_finite() { share(aimed.transfer) } else { "n/a".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::survey::{SurveyGrid, SurveyPicture, SurveySweep, SurveyUnitRow};
    use super::super::super::{survey_figures, survey_tables};
    use super::*;
    use crate::metric::claim::Effect;

    const EVIL: &str = "<script>alert(1)</script>";

    fn claim(kind: ClaimKind, low: f64, control: bool) -> Claim {
        let effect = Effect { value: low + 0.1, low, high: low + 0.2, n: 24 };
        let (data, about, measure) = ("d".to_owned(), format!("net{EVIL}"), "a measure".to_owned());
        Claim { kind, data, about, measure, effect, falls: false, control }
    }

    fn unit(depth: f64, dead: bool) -> SurveyUnitRow {
        SurveyUnitRow {
            network: format!("net{EVIL}"),
            data: "d".into(),
            family: "vit".into(),
            untrained: false,
            layer: format!("layer {depth}"),
            depth,
            unit: "layer:1".into(),
            dead,
            mean: 0.0,
            deviation: 1.0,
            threshold: 3.0,
            purity: 0.4 + depth / 2.0,
            chance: 0.1,
            steps: 12.0,
            failed: 0.5,
            z: f64::NAN,
            centroid: 0.2 - depth / 10.0,
            remark: String::new(),
        }
    }

    fn page() -> SurveyPage {
        let sweep = |learning_rate| SurveySweep { learning_rate, failed: 0.25, mean_steps: 31.5 };
        let network = SurveyNetworkRow {
            network: format!("net{EVIL}"),
            data: "d".into(),
            family: "vit".into(),
            untrained: false,
            parameters: 12_345,
            accuracy: f64::NAN,
            units: [8, 1],
            sweeps: vec![sweep(0.02), sweep(0.2)],
            best: 1,
        };
        let attack = |control: bool, reached| SurveyAttackRow {
            network: "net".into(),
            data: "d".into(),
            method: "targeted".into(),
            control,
            strength: 4.0,
            n: 16,
            reached,
            changed: reached,
            confidence: 0.5,
            change: 4.0,
            norm: 1.0,
            psnr: f64::NAN,
            ssim: 0.9,
            transfer: f64::NAN,
        };
        let png = crate::maximise::png(&image::RgbImage::new(2, 2)).unwrap();
        let picture = SurveyPicture { unit: "layer:1".into(), remark: "dead".into(), rendered: png.clone(), real: png };
        SurveyPage {
            title: format!("t{EVIL}"),
            claims: vec![
                claim(ClaimKind::Depth, 0.1, false),
                claim(ClaimKind::Depth, -0.1, false),
                claim(ClaimKind::Depth, 0.1, true),
                claim(ClaimKind::Size, -0.5, false),
            ],
            networks: vec![network],
            units: vec![unit(0.0, false), unit(0.5, true), unit(1.0, false)],
            attacks: vec![attack(false, 15), attack(true, 0)],
            centroids: vec![("d".into(), 0.1)],
            grids: vec![SurveyGrid { network: "net".into(), layers: vec![("layer 0".into(), vec![picture])] }],
            ..SurveyPage::default()
        }
    }

    #[test]
    fn a_page_says_how_claims_came_out_and_escapes_names() {
        let page = page();
        let text = survey_html(&page, &survey_figures(&page).unwrap()).unwrap();
        let wanted = "a measure: as claimed in 1 of 2, the other way round in 0, undecided in 1. \
                      Without anything learnt, it showed in 1 of 1.";
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains("15 of 16") && text.contains("25.0 % fail, 31.5 steps"));
        assert!(!text.contains("<script>alert") && !text.contains("NaN"));
        let tables = survey_tables(&page).unwrap();
        let csv = String::from_utf8(tables[0].1.clone()).unwrap();
        assert!(csv.starts_with("claim,data,about") && csv.contains("shown") && csv.contains("against"), "{csv}");
    }

    #[test]
    fn an_empty_survey_is_a_page() {
        let page = SurveyPage::default();
        assert!(survey_html(&page, &survey_figures(&page).unwrap()).unwrap().contains("</html>"));
        assert_eq!(survey_tables(&page).unwrap().len(), 4);
    }
}
