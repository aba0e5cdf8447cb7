//! FunnyBirds (Hesse et al. 2023): `dataset_{train,test}.json`, pictures in `{train,test}/CLASS/NUMBER.png` and maps of
//! their parts in `{train,test}_part_map/`, in which every part is of one exact colour. Every bird (class) is a group.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::annotated::{Annotated, Fact, Known, Layout};
use super::label_map::{LabelMap, blank};
use super::pictures::{Frame, names};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const LAYOUT: &str = "wanted dataset_train.json or dataset_test.json, a list of objects with `class_idx`, beside train/, \
    test/, train_part_map/ and test_part_map/";
/// Kinds of parts.
const PARTS: [&str; 5] = ["beak", "eye", "foot", "tail", "wing"];
/// Pieces with their kind and the colour that stands for them in the maps.
const PIECES: [(&str, &str, [u8; 3]); 8] = [
    ("eye01", "eye", [255, 255, 253]),
    ("eye02", "eye", [255, 255, 254]),
    ("beak", "beak", [255, 255, 0]),
    ("foot01", "foot", [255, 0, 1]),
    ("foot02", "foot", [255, 0, 2]),
    ("wing01", "wing", [0, 255, 1]),
    ("wing02", "wing", [0, 255, 2]),
    ("tail", "tail", [0, 0, 255]),
];
/// What stands for a part that was removed.
const REMOVED: &str = "placeholder";

/// The dataset's birds.
#[derive(Debug)]
pub struct FunnyBirds {
    concepts: Vec<Concept>,
    birds: BTreeMap<PathBuf, Bird>,
}

/// What a concept asks for.
#[derive(Debug, Clone)]
struct Concept {
    /// The kind of part it is about.
    part: &'static str,
    /// Key and value of the part's attribute, where it asks for one.
    attribute: Option<(String, String)>,
    /// The colours of its pieces in a map, as numbers.
    colours: Vec<u32>,
}

/// A picture: the map of its parts, and the attributes of its bird.
#[derive(Debug)]
struct Bird {
    map: PathBuf,
    class: u64,
    source: &'static str,
    attributes: BTreeMap<&'static str, String>,
}

/// Opens FunnyBirds in the study's root. Concepts are kinds of parts (`beak`), pieces (`wing02`) and attributes
/// (`beak_color=yellow`, `tail_model=tail01.glb`); without names the five kinds.
///
/// # Errors
/// When no list is there or one is not of this form, a concept is nothing of it, or too many pictures are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<FunnyBirds>> {
    let mut birds = BTreeMap::new();
    for source in ["test", "train"] {
        let list = root.join(format!("dataset_{source}.json"));
        if list.is_file() && root.join(source).is_dir() {
            read(&list, root, source, &mut birds)?;
        }
    }
    if birds.is_empty() {
        return Err(Error::file(root, "there is no FunnyBirds dataset", LAYOUT));
    }
    let all = || PARTS.iter().map(|p| (*p).to_owned()).collect();
    let wanted: Vec<String> = if spec.concepts.is_empty() { all() } else { spec.concepts.clone() };
    let concepts = concepts(&wanted, &birds)?;
    let paths: Vec<PathBuf> = birds.keys().cloned().collect();
    let frames = paths.iter().zip(names(root, &paths)).map(|(path, name)| {
        let bird = &birds[path];
        let (group, source) = (format!("bird {}", bird.class), bird.source.to_owned());
        Frame { path: path.clone(), name, group, time: None, source }
    });
    Annotated::open(spec, wanted, frames.collect(), FunnyBirds { concepts, birds })
}

/// What a list says of a bird, but for camera, light and background.
#[derive(Debug, Deserialize)]
struct Record {
    class_idx: u64,
    beak_model: String,
    beak_color: Option<String>,
    eye_model: String,
    foot_model: String,
    tail_model: String,
    tail_color: Option<String>,
    wing_model: String,
    wing_color: Option<String>,
}

impl Record {
    fn attributes(self) -> BTreeMap<&'static str, String> {
        let models = [
            ("beak_model", Some(self.beak_model)),
            ("eye_model", Some(self.eye_model)),
            ("foot_model", Some(self.foot_model)),
            ("tail_model", Some(self.tail_model)),
            ("wing_model", Some(self.wing_model)),
        ];
        let colours =
            [("beak_color", self.beak_color), ("tail_color", self.tail_color), ("wing_color", self.wing_color)];
        models.into_iter().chain(colours).filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Adds the birds of a list; a bird's number is its place in it.
fn read(list: &Path, root: &Path, source: &'static str, birds: &mut BTreeMap<PathBuf, Bird>) -> Result<()> {
    let file = File::open(list).map_err(Error::io("read", list))?;
    let wrong = |e: serde_json::Error| Error::file(list, e.to_string(), LAYOUT);
    let found: Vec<Record> = serde_json::from_reader(BufReader::new(file)).map_err(wrong)?;
    for (number, record) in found.into_iter().enumerate() {
        let class = record.class_idx;
        let file = format!("{class}/{number:06}.png");
        let map = root.join(format!("{source}_part_map")).join(&file);
        let bird = Bird { map, class, source, attributes: record.attributes() };
        birds.insert(root.join(source).join(file), bird);
    }
    Ok(())
}

fn number([red, green, blue]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, red, green, blue])
}

fn concepts(names: &[String], birds: &BTreeMap<PathBuf, Bird>) -> Result<Vec<Concept>> {
    let pairs = birds.values().flat_map(|b| &b.attributes).filter(|(_, value)| *value != REMOVED);
    let attributes: BTreeSet<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    let concept = |name: &String| {
        let colours = |shows: &dyn Fn(&str, &str) -> bool| {
            let shown = PIECES.iter().filter(|(piece, kind, _)| shows(piece, kind));
            shown.map(|(_, _, colour)| number(*colour)).collect::<Vec<u32>>()
        };
        if let Some(part) = PARTS.into_iter().find(|p| p == name) {
            return Ok(Concept { part, attribute: None, colours: colours(&|_, kind| kind == part) });
        }
        if let Some((_, part, colour)) = PIECES.iter().find(|(piece, _, _)| piece == name) {
            return Ok(Concept { part, attribute: None, colours: vec![number(*colour)] });
        }
        let part = PARTS.into_iter().find(|p| name.starts_with(&format!("{p}_")));
        match (part, name.split_once('=')) {
            (Some(part), Some((key, value))) if attributes.contains(name) => Ok(Concept {
                part,
                attribute: Some((key.to_owned(), value.to_owned())),
                colours: colours(&|_, kind| kind == part),
            }),
            _ => {
                let pieces = PIECES.iter().map(|p| p.0);
                let known = PARTS.into_iter().chain(pieces).chain(attributes.iter().map(String::as_str));
                Err(Error::unknown("part or attribute of FunnyBirds", name, known))
            }
        }
    };
    names.iter().map(concept).collect()
}

impl Bird {
    fn has(&self, part: &str) -> bool {
        self.attributes.get(format!("{part}_model").as_str()).is_some_and(|model| model != REMOVED)
    }

    /// A part that was removed, or that is of another make, is nowhere. One that is there and hidden is not known: it is
    /// no example of a bird without.
    fn fact(&self, concept: &Concept, map: &LabelMap, size: (u32, u32)) -> Fact {
        let other =
            concept.attribute.as_ref().is_some_and(|(key, value)| self.attributes.get(key.as_str()) != Some(value));
        if other || !self.has(concept.part) {
            return Fact::Nowhere;
        }
        let mut mask = blank(size);
        concept.colours.iter().for_each(|colour| map.paint(*colour, &mut mask));
        if mask.pixels.contains(&true) { Fact::At(mask) } else { Fact::Unknown }
    }
}

impl Layout for FunnyBirds {
    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String> {
        let bird = self.birds.get(&frame.path).ok_or("it is not listed")?;
        let map = LabelMap::read(&bird.map, number)?;
        let (width, height) = map.size();
        if (width, height) != (size.0 as usize, size.1 as usize) {
            return Err(format!("its part map has {width}x{height} pixels, the picture {}x{}", size.0, size.1));
        }
        // Colours are exact but for a few pixels at edges; where a map was scaled or compressed most are not.
        let exact = |colour: u32| PIECES.iter().any(|(_, _, c)| number(*c) == colour);
        let (odd, parts) = (map.share(|c| c != 0 && !exact(c)), map.share(exact));
        if odd > parts {
            return Err(format!("{:.0} % of its part map are of colours that stand for no part", 100.0 * odd));
        }
        let facts = self.concepts.iter().map(|c| bird.fact(c, &map, size)).collect();
        let parts = PARTS.iter().filter(|p| bird.has(p)).map(|p| (*p).to_owned());
        let made = bird.attributes.iter().filter(|(_, v)| *v != REMOVED).map(|(k, v)| format!("{k}={v}"));
        Ok(Known { facts, context: parts.chain(made).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Format;
    use crate::dataset::sample::{Dataset, Presence};
    use image::{Rgba, RgbaImage};

    const YES: Presence = Presence::Present;
    const NO: Presence = Presence::Absent;
    const OPEN: Presence = Presence::Unknown;

    fn bird(class: u32, beak: &str, colour: &str, tail: &str) -> String {
        format!(
            r#"{{"class_idx": {class}, "camera_distance": 300, "beak_model": "{beak}", "beak_color": "{colour}",
            "eye_model": "eye01.glb", "foot_model": "foot01.glb", "tail_model": "{tail}", "tail_color": "red",
            "wing_model": "wing01.glb", "wing_color": "red", "bg_color": "red,blue,"}}"#
        )
    }

    /// Train: bird 0 (a yellow beak, seen; its tail hidden), bird 1 (no beak, a tail). Test: bird 0 with a red beak.
    fn tree() -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        let train = [bird(0, "beak01.glb", "yellow", "tail01.glb"), bird(1, REMOVED, REMOVED, "tail01.glb")];
        std::fs::write(dir.path().join("dataset_train.json"), format!("[{}]", train.join(","))).unwrap();
        let test = bird(0, "beak02.glb", "red", "tail02.glb");
        std::fs::write(dir.path().join("dataset_test.json"), format!("[{test}]")).unwrap();
        // Beak and first eye differ in one blue level of 255 from other parts or from nothing.
        let beak = [255, 255, 0];
        write(&dir, "train/0/000000", 1, &[beak, [255, 255, 253], [255, 255, 254]]);
        write(&dir, "train/1/000001", 2, &[[0, 0, 255], [0, 255, 1], [0, 255, 2]]);
        write(&dir, "test/0/000000", 3, &[beak, [0, 0, 255], [255, 0, 2]]);
        let mut spec = DatasetSpec::of(Format::FunnyBirds);
        spec.root = Some(dir.path().to_path_buf());
        (dir, spec)
    }

    /// A picture of 4 x 4 pixels, and a map whose rows are of the colours given, the last one of the background.
    fn write(dir: &tempfile::TempDir, name: &str, seed: u8, rows: &[[u8; 3]]) {
        let save = |path: PathBuf, pixel: &dyn Fn(u32, u32) -> Rgba<u8>| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbaImage::from_fn(4, 4, pixel).save(path.with_extension("png")).unwrap();
        };
        save(dir.path().join(name), &|x, y| Rgba([x as u8, y as u8, seed, 9]));
        let row = |y: u32| rows.get(y as usize).copied().unwrap_or([0, 0, 0]);
        let (mode, rest) = name.split_once('/').unwrap();
        save(dir.path().join(format!("{mode}_part_map/{rest}")), &|_, y| {
            let [r, g, b] = row(y);
            Rgba([r, g, b, 9])
        });
    }

    #[test]
    fn parts_are_there_removed_or_hidden() {
        let (dir, mut spec) = tree();
        let data = open(&spec, dir.path()).unwrap();
        assert_eq!(data.concepts(), PARTS);
        let names: Vec<&str> = data.samples().iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["test-0-000000", "train-0-000000", "train-1-000001"]);
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        assert_eq!(presence, [[YES, OPEN, YES, YES, OPEN], [YES, YES, OPEN, OPEN, OPEN], [NO, OPEN, OPEN, YES, YES]]);
        let of = |s: usize| (data.samples()[s].group.as_str(), data.samples()[s].source.as_str());
        assert_eq!([of(0), of(1), of(2)], [("bird 0", "test"), ("bird 0", "train"), ("bird 1", "train")]);
        let share = |s, c| data.mask(s, c).unwrap().map(|m| m.coverage());
        assert_eq!([share(1, 0), share(1, 1), share(2, 0), share(1, 3)], [Some(0.25), Some(0.5), Some(0.0), None]);
        assert_eq!(data.image(1).unwrap().get_pixel(2, 3).0, [2, 3, 1], "transparency is passed over");
        spec.concepts = ["eye02", "beak_color=yellow", "tail_model=tail02.glb"].map(str::to_owned).to_vec();
        let data = open(&spec, dir.path()).unwrap();
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        assert_eq!(presence, [[OPEN, NO, YES], [YES, YES, NO], [OPEN, NO, NO]]);
    }

    #[test]
    fn what_is_not_of_this_form_is_told() {
        let (dir, mut spec) = tree();
        let message = |spec: &DatasetSpec| open(spec, dir.path()).unwrap_err().to_string();
        for wrong in ["beek", "beak_color=blue", "beak_color=placeholder", "bg_color=red,blue,"] {
            spec.concepts = vec![wrong.into()];
            assert!(message(&spec).contains("`beak"), "{wrong}: {}", message(&spec));
        }
        spec.concepts.clear();
        // A map that went through JPEG.
        write(&dir, "test/0/000000", 3, &[[255, 255, 1]]);
        assert!(message(&spec).contains("25 % of its part map are of colours that stand for no part"));
        let path = dir.path().join("dataset_test.json");
        for (text, wanted) in [
            ("[{}]", "missing field `class_idx`"),
            ("[{\"class_idx\": 0}]", "missing field `beak_model`"),
            ("{", "dataset_test.json"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(message(&spec).contains(wanted), "{wanted}");
        }
        assert!(open(&spec, &dir.path().join("x")).unwrap_err().to_string().contains("no FunnyBirds"));
    }
}
