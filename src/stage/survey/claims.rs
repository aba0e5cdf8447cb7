//! The claims, tested on the rows of a survey.

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::claim::{Effect, mean_difference, trend};
use crate::metric::proportion::difference;
use crate::report::survey::{Claim, ClaimKind, SurveyAttackRow, SurveyNetworkRow, SurveyUnitRow};
use crate::seed::Seed;
use crate::study::Survey;

/// What claims are tested on.
pub(super) struct Rows<'a> {
    pub(super) survey: &'a Survey,
    pub(super) networks: &'a [SurveyNetworkRow],
    pub(super) units: &'a [SurveyUnitRow],
    pub(super) attacks: &'a [SurveyAttackRow],
}

/// A number of a unit, with its name.
type Measure = (&'static str, fn(&SurveyUnitRow) -> f64);

const CENTROID: Measure = ("spectral centroid against depth, rank correlation", |u| u.centroid);
const PURITY: Measure = ("class purity against depth, rank correlation", |u| u.purity);
const STEPS: Measure = ("mean steps to the threshold, difference", |u| u.steps);
const FAILED: Measure = ("share of ascents that fail, difference", |u| u.failed);

impl Rows<'_> {
    /// Every test, claim by claim.
    pub(super) fn claims(&self) -> Vec<Claim> {
        [self.depth(), self.size(), self.family(), self.attack()].concat()
    }

    /// Units of a network that real pictures move.
    fn alive(&self, network: &str) -> Vec<&SurveyUnitRow> {
        self.units.iter().filter(|u| u.network == network && !u.dead).collect()
    }

    fn depth(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for network in self.networks {
            let units = self.alive(&network.network);
            let depth: Vec<f64> = units.iter().map(|u| u.depth).collect();
            let layers: BTreeSet<&str> = units.iter().map(|u| u.layer.as_str()).collect();
            let layer = |u: &&SurveyUnitRow| layers.iter().position(|l| *l == u.layer).unwrap_or_default();
            let strata: Vec<usize> = units.iter().map(layer).collect();
            for ((measure, of), falls) in [(CENTROID, true), (PURITY, false)] {
                let values: Vec<f64> = units.iter().map(|u| of(u)).collect();
                let mut rng = self.stream(&network.network, measure);
                let effect = trend(&depth, &values, &strata, self.survey.bootstrap, &mut rng);
                claims.push(Claim {
                    kind: ClaimKind::Depth,
                    data: network.data.clone(),
                    about: network.network.clone(),
                    measure: measure.to_owned(),
                    effect,
                    falls,
                    control: network.untrained,
                });
            }
        }
        claims.retain(|c| !c.effect.value.is_nan());
        claims
    }

    /// Of every series the largest network less the smallest, and the trend over three or more.
    fn size(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for ((data, series), mut networks) in self.series() {
            networks.sort_by_key(|n| n.parameters);
            let (Some(smallest), Some(largest)) = (networks.first(), networks.last()) else { continue };
            if smallest.network == largest.network {
                continue;
            }
            let claim = |measure: &str, effect: Effect| Claim {
                kind: ClaimKind::Size,
                data: data.to_owned(),
                about: format!("{series}: {} against {}", largest.network, smallest.network),
                measure: measure.to_owned(),
                effect,
                falls: false,
                control: false,
            };
            for (measure, of) in [STEPS, FAILED] {
                claims.push(claim(measure, self.between(&largest.network, &smallest.network, (measure, of))));
            }
            if networks.len() > 2 {
                let measure = "mean steps against parameters, rank correlation";
                let own: Vec<(usize, &SurveyUnitRow)> = networks
                    .iter()
                    .enumerate()
                    .flat_map(|(i, n)| self.alive(&n.network).into_iter().map(move |u| (i, u)))
                    .collect();
                let sizes: Vec<f64> = own.iter().map(|(i, _)| networks[*i].parameters as f64).collect();
                let steps: Vec<f64> = own.iter().map(|(_, u)| u.steps).collect();
                let strata: Vec<usize> = own.iter().map(|(i, _)| *i).collect();
                let mut rng = self.stream(series, measure);
                claims.push(claim(measure, trend(&sizes, &steps, &strata, self.survey.bootstrap, &mut rng)));
            }
        }
        claims
    }

    /// Trained networks by data and series.
    fn series(&self) -> BTreeMap<(&str, &str), Vec<&SurveyNetworkRow>> {
        let mut series: BTreeMap<(&str, &str), Vec<&SurveyNetworkRow>> = BTreeMap::new();
        for network in self.networks.iter().filter(|n| !n.untrained) {
            let Some(spec) = self.survey.network.get(&network.network) else { continue };
            for name in &spec.series {
                series.entry((&network.data, name)).or_default().push(network);
            }
        }
        series
    }

    /// Of every transformer and convolutional network of the same data that are about as accurate.
    fn family(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        let of = |family: &'static str| self.networks.iter().filter(move |n| n.family == family && !n.untrained);
        for vit in of("vit") {
            let equal = |n: &&SurveyNetworkRow| (n.accuracy - vit.accuracy).abs() <= self.survey.equal_accuracy;
            for cnn in of("cnn").filter(|n| n.data == vit.data).filter(equal) {
                for measure in [STEPS, FAILED] {
                    claims.push(Claim {
                        kind: ClaimKind::Family,
                        data: vit.data.clone(),
                        about: format!("{} against {}", vit.network, cnn.network),
                        measure: measure.0.to_owned(),
                        effect: self.between(&vit.network, &cnn.network, measure),
                        falls: false,
                        control: false,
                    });
                }
            }
        }
        claims
    }

    /// Of every attack its share of targets less that of the change without an aim.
    fn attack(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for pair in self.attacks.chunks(2) {
            let [aimed, control] = pair else { continue };
            let (value, low, high) = difference((aimed.reached, aimed.n), (control.reached, control.n));
            let strength = if aimed.method == "blend" { String::new() } else { format!(" {} levels", aimed.strength) };
            claims.push(Claim {
                kind: ClaimKind::Attack,
                data: aimed.data.clone(),
                about: format!("{}, {}{strength}", aimed.network, aimed.method),
                measure: "share of targets reached, less that without an aim".to_owned(),
                effect: Effect { value, low, high, n: aimed.n },
                falls: false,
                control: false,
            });
        }
        claims
    }

    /// The mean over one network's units less that over another's.
    fn between(&self, one: &str, other: &str, (name, of): Measure) -> Effect {
        let values = |network: &str| self.alive(network).into_iter().map(of).collect::<Vec<f64>>();
        let mut rng = self.stream(&format!("{one}/{other}"), name);
        mean_difference(&values(one), &values(other), self.survey.bootstrap, &mut rng)
    }

    fn stream(&self, about: &str, measure: &str) -> rand_chacha::ChaCha8Rng {
        Seed(self.survey.seed).stream(&format!("survey/{about}/{measure}"))
    }
}
