use image::RgbImage;

use super::*;
use crate::dataset::mask::Mask;
use crate::dataset::sample::{Presence, Sample, Skipped};
use crate::dataset::spec::SplitSpec;
use crate::dataset::split;
use crate::error::Result;
use crate::seed::Seed;
use crate::store::digest::Digest;

const YES: Presence = Presence::Present;
const NO: Presence = Presence::Absent;
const OPEN: Presence = Presence::Unknown;
const WANTED: Wanted = Wanted { least: 20, present_from: 0.02, gap: 1.5 };

/// Labels without pictures.
struct Labels {
    concepts: Vec<String>,
    samples: Vec<Sample>,
}

impl Dataset for Labels {
    fn concepts(&self) -> &[String] {
        &self.concepts
    }

    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn skipped(&self) -> &[Skipped] {
        &[]
    }

    fn image(&self, _sample: usize) -> Result<RgbImage> {
        Err(Error::Failure("advice reads no picture".into()))
    }

    fn mask(&self, _sample: usize, _concept: usize) -> Result<Option<Mask>> {
        Err(Error::Failure("advice reads no mask".into()))
    }
}

/// 480 samples of concepts `a` and `b`, which are independent of each other and of the two sources; each its own group.
fn plain() -> Labels {
    let sample = |i: usize| Sample {
        id: Digest::of(&i.to_le_bytes()),
        name: format!("s{i}"),
        group: format!("g{i}"),
        time: None,
        source: format!("source {}", i / 4 % 2),
        presence: [i % 2, i / 2 % 2].map(|bit| if bit == 0 { YES } else { NO }).to_vec(),
        coverage: vec![f32::NAN; 2],
        masks: None,
        labels: std::collections::BTreeSet::new(),
    };
    Labels { concepts: vec!["a".into(), "b".into()], samples: (0..480).map(sample).collect() }
}

fn changed(change: impl Fn(usize, &mut Sample)) -> Labels {
    let mut data = plain();
    data.samples.iter_mut().enumerate().for_each(|(i, sample)| change(i, sample));
    data
}

fn advice(data: &Labels) -> Advice {
    let split = split::split(&data.samples, &SplitSpec::default(), Seed(1));
    advise(data, split.as_ref(), &WANTED)
}

/// The only warning there is.
fn only(data: &Labels) -> Warning {
    let found = advice(data).warnings;
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

#[test]
fn data_without_faults_have_no_warnings() {
    let advice = advice(&plain());
    assert_eq!(advice.warnings, []);
    assert_eq!((advice.samples, advice.groups, advice.sources), (480, 480, 2));
    assert_eq!(advice.parts.iter().sum::<usize>(), 480);
    let a = &advice.concepts[0];
    assert_eq!((a.present, a.absent, a.unknown, a.mask), (240, 240, 0, None));
    assert_eq!(a.fit[0] + a.val[0] + a.test[0], 240);
    assert_eq!(a.test_blocks, a.test[0]);
    assert_eq!((a.source.accuracy, a.source.bits, a.source.bits_of), (Some(0.5), 0.0, 1.0));
}

#[test]
fn a_source_that_tells_the_concept_is_a_shortcut() {
    let found = only(&changed(|i, s| s.source = if i % 2 == 0 { "ade" } else { "dtd" }.into()));
    assert_eq!((found.kind, found.concepts.as_slice()), (Kind::SourceShortcut, ["a".to_owned()].as_slice()));
    let wanted = "`a`: a sample's source alone tells it with balanced accuracy 1.00 (1.00 of 1.00 bits): 240 of 240 positives \
                  are from `ade`, 240 of 240 negatives from `dtd`";
    assert_eq!(found.found, wanted);
    assert!(found.advice.contains("take negatives from the sources of the positives"));
}

#[test]
fn accuracy_and_bits_are_their_definitions() {
    // Of the positives four fifths are of `x`, of the negatives three tenths.
    let data = changed(|i, s| s.source = if i / 2 % 10 < [8, 3][i % 2] { "x" } else { "y" }.into());
    let source = advice(&data).concepts[0].source.clone();
    assert!((source.accuracy.unwrap() - 0.75).abs() < 1e-12);
    let entropy = |p: f64| -p * p.log2() - (1.0 - p) * (1.0 - p).log2();
    let left = 0.55 * entropy(0.8 / 1.1) + 0.45 * entropy(0.2 / 0.9);
    assert!((source.bits - (1.0 - left)).abs() < 1e-12, "{} {}", source.bits, 1.0 - left);
    // A source of every sample's own tells nothing of other samples.
    let data = changed(|i, s| s.source = format!("{i}"));
    assert_eq!(advice(&data).concepts[0].source.accuracy, Some(0.5));
}

#[test]
fn too_few_samples_are_counted_by_part() {
    let rare = |share: f32| {
        changed(move |i, s| {
            if i % 22 != 0 {
                (s.presence[0], s.coverage[0]) = (if share > 0.0 && i % 2 == 0 { OPEN } else { NO }, share);
            }
        })
    };
    let found = only(&rare(0.0));
    assert_eq!(found.kind, Kind::TooFew);
    assert!(found.found.starts_with("`a`: fit has 11 with and "), "{}", found.found);
    assert!(found.found.contains("test has 7 with and") && found.found.contains("at least 20"), "{}", found.found);
    assert!(found.advice.contains("add pictures that are known to have it"));
    let found = advice(&rare(0.01)).warnings;
    assert!(found[0].advice.contains("218 samples show less of it than 0.02"), "{found:#?}");
}

#[test]
fn few_test_samples_have_a_wide_interval() {
    let found = only(&changed(|i, s| s.presence[0] = if i % 5 == 0 { YES } else { NO }));
    assert_eq!(found.kind, Kind::WideInterval);
    assert!(found.found.contains("±17 points"), "{}", found.found);
}

#[test]
fn groups_that_cannot_carry_a_split_are_told() {
    let found = advice(&changed(|i, s| s.group = format!("{}", i % 2))).warnings;
    assert_eq!((found[0].kind, found[0].concepts.len()), (Kind::FewGroups, 0));
    assert!(found[0].found.contains("2 blocks cannot be dealt"), "{}", found[0].found);
    let few = advice(&changed(|i, s| s.group = format!("{}", i / 48))).warnings;
    assert!(few.iter().all(|w| w.kind == Kind::FewGroups) && few.len() == 2, "{few:#?}");
    assert!(few[0].found.contains("test positives are from 3 group(s)"), "{}", few[0].found);
}

#[test]
fn one_group_with_most_positives_is_told() {
    let data = changed(|i, s| {
        s.presence[0] = if i < 120 || i % 20 == 0 { YES } else { NO };
        s.group = format!("{}", if i < 120 { 0 } else { i });
    });
    let found = advice(&data).warnings;
    let found = found.iter().find(|w| w.kind == Kind::OneGroup).unwrap();
    assert!(found.found.contains("120 of its 138 positives are of the group `0`"), "{}", found.found);
}

#[test]
fn clips_cut_in_time_are_told() {
    let data = changed(|i, s| (s.group, s.time) = (format!("clip {}", i % 4), Some((i / 4) as f64 * 4.0)));
    let found = only(&data);
    assert_eq!(found.kind, Kind::SharedClips);
    assert!(found.found.starts_with("4 of 4 groups are in more than one part") && found.found.contains("1.5 s"));
}

#[test]
fn copies_of_a_picture_in_two_parts_are_told() {
    let found = only(&changed(|i, s| s.id = Digest::of(&(i % 240).to_le_bytes())));
    assert_eq!(found.kind, Kind::SamePicture);
}

#[test]
fn concepts_that_are_always_together_are_told() {
    let found = only(&changed(|i, s| s.presence[1] = if i == 1 { YES } else { s.presence[0] }));
    assert_eq!((found.kind, found.concepts.len()), (Kind::NeverApart, 2));
    assert!(found.found.starts_with("`a` and `b` are together in 240 samples and apart in 1:"), "{}", found.found);
}

#[test]
fn a_concept_that_is_never_alone_is_told_once() {
    let found = only(&changed(|i, s| s.presence[1] = if [0, 4].contains(&(i % 6)) { YES } else { NO }));
    assert_eq!((found.kind, found.concepts.as_slice()), (Kind::NeverWithout, ["b", "a"].map(str::to_owned).as_slice()));
    assert!(
        found.found.starts_with("`b` is without `a` in 0 of 160 samples; `a` is in 80 of the 320"),
        "{}",
        found.found
    );
}

#[test]
fn many_unknowns_are_told() {
    let open = |i: usize, s: &mut Sample| {
        if i % 5 < 3 {
            s.presence[1] = OPEN;
        }
    };
    let found = advice(&changed(open)).warnings;
    let found = found.iter().find(|w| w.kind == Kind::Unknown).unwrap();
    assert!(found.found.contains("unknown in 288 of 480 samples; in 0 of them"), "{}", found.found);
    assert!(found.advice.contains("list what is absent"));
}

#[test]
fn masks_of_everything_and_of_nothing_are_told() {
    let covered = |share: f32| changed(move |_, s| s.coverage[0] = if s.presence[0] == YES { share } else { 0.0 });
    let large = only(&covered(0.93));
    assert_eq!(large.kind, Kind::LargeMasks);
    assert!(large.found.contains("cover 93 % of the picture"), "{}", large.found);
    let small = only(&covered(0.0034));
    assert_eq!(small.kind, Kind::SmallMasks);
    assert!(small.found.contains("cover 0.34 % of the picture"), "{}", small.found);
    assert_eq!(advice(&covered(0.3)).warnings, []);
}
