//! ADE20K, the full release of 2016: `images/{training,validation}/…/NAME.jpg` with `NAME_seg.png` and `NAME_parts_1.png`,
//! `_2` and so on beside it. `objects.json` names the classes; tests/interop/ade20k_objects.py makes it from the index.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::annotated::{Annotated, Fact, Known, Layout};
use super::label_map::{LabelMap, blank};
use super::pictures::{Frame, image_files, names, stem};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const FILE: &str = "objects.json";
const LAYOUT: &str = "wanted images/{training,validation}/…/NAME.jpg with NAME_seg.png, and objects.json; make that with \
    python tests/interop/ade20k_objects.py index_ade20k.mat objects.json";
/// Share of a class's instances that are parts of something, from which on it counts as a part as well.
const PART_FROM: f32 = 0.05;
/// Share of a picture that must have classes before the absence of one counts.
const LABELLED: f32 = 0.5;

/// The classes, in the order of their numbers from 1 on.
#[derive(Debug)]
pub struct Ade20k {
    classes: Vec<Class>,
    /// For each concept its class's number.
    concepts: Vec<u32>,
}

#[derive(Debug, Deserialize)]
struct Class {
    /// Synonyms, as in `airplane, aeroplane, plane`.
    name: String,
    /// Share of its instances that are parts.
    #[serde(default)]
    part: f32,
}

/// Opens ADE20K in the study's root. A concept is a class by its whole name, or by the first synonym.
///
/// # Errors
/// When `objects.json` or the pictures are not there, no concept is named, one is no class or of several, or too many
/// pictures are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<Ade20k>> {
    let classes = read(&root.join(FILE))?;
    if spec.concepts.is_empty() {
        let problem = format!("{FILE} has {} classes, too many to study at once", classes.len());
        return Err(Error::key("dataset.concepts", problem, "name some: concepts = [\"car\", \"wall\"]"));
    }
    let concepts = spec.concepts.iter().map(|c| number(c, &classes)).collect::<Result<_>>()?;
    let images = root.join("images");
    if !images.is_dir() {
        return Err(Error::file(&images, "there is no such folder", LAYOUT));
    }
    let mut paths = image_files(&images)?;
    paths.retain(|p| p.extension().is_some_and(|e| !e.eq_ignore_ascii_case("png")));
    let names = names(&images, &paths);
    let frames = paths.into_iter().zip(names).map(|(path, name)| frame(path, name, &images)).collect();
    Annotated::open(spec, spec.concepts.clone(), frames, Ade20k { classes, concepts })
}

fn read(path: &Path) -> Result<Vec<Class>> {
    if !path.is_file() {
        return Err(Error::file(path, "there is no such file", LAYOUT));
    }
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::file(path, e.to_string(), LAYOUT))
}

impl Class {
    fn first_name(&self) -> &str {
        self.name.split(',').next().unwrap_or_default().trim()
    }
}

/// The number of a class.
fn number(name: &str, classes: &[Class]) -> Result<u32> {
    let find = |is: &dyn Fn(&Class) -> bool| {
        classes.iter().zip(1..).filter(|(c, _)| is(c)).map(|(_, number)| number).collect::<Vec<u32>>()
    };
    let whole = find(&|c| c.name == name);
    let found = if whole.is_empty() { find(&|c| c.first_name() == name) } else { whole };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::unknown("class of ADE20K", name, classes.iter().map(Class::first_name))),
        [first, second, ..] => {
            let full = [first, second].map(|n| format!("`{}`", classes[*n as usize - 1].name)).join(" and ");
            Err(Error::key("dataset.concepts", format!("`{name}` is {full}"), "write the whole name of one"))
        }
    }
}

/// The source is the folder below the images: `training` or `validation`.
fn frame(path: PathBuf, name: String, images: &Path) -> Frame {
    let below = path.strip_prefix(images).unwrap_or(&path);
    let source = below.iter().next().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    Frame { path, group: name.clone(), name, time: None, source }
}

/// Tens of red times 256 plus green; blue tells instances apart.
fn class([red, green, _]: [u8; 3]) -> u32 {
    u32::from(red / 10) * 256 + u32::from(green)
}

/// The scene by the folders of `images/training/a/abbey/NAME.jpg`, as context.
fn scene(path: &Path) -> Option<String> {
    let folder = path.parent()?.file_name()?.to_string_lossy();
    (!["training", "validation"].contains(&&*folder)).then(|| format!("scene {folder}"))
}

/// Objects and then every level of parts.
fn maps(path: &Path, size: (u32, u32)) -> Result<Vec<LabelMap>, String> {
    let beside = |end: &str| path.with_file_name(format!("{}_{end}.png", stem(path)));
    let parts = (1..).map(|level| beside(&format!("parts_{level}"))).take_while(|p| p.is_file());
    let read = |path: PathBuf| {
        let map = LabelMap::read(&path, class)?;
        let (width, height) = map.size();
        if (width, height) != (size.0 as usize, size.1 as usize) {
            let wanted = format!("the picture {}x{}", size.0, size.1);
            return Err(format!("its labels {} have {width}x{height} pixels, {wanted}", path.display()));
        }
        Ok(map)
    };
    std::iter::once(beside("seg")).chain(parts).map(read).collect()
}

impl Ade20k {
    fn fact(&self, class: u32, maps: &[LabelMap], size: (u32, u32)) -> Fact {
        let mut mask = blank(size);
        maps.iter().for_each(|map| map.paint(class, &mut mask));
        if mask.pixels.contains(&true) {
            return Fact::At(mask);
        }
        let is_part = self.classes[class as usize - 1].part >= PART_FROM;
        let labelled = maps.first().is_some_and(|objects| objects.labelled() >= LABELLED);
        if labelled && (!is_part || maps.len() > 1) { Fact::Nowhere } else { Fact::Unknown }
    }
}

impl Layout for Ade20k {
    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String> {
        let maps = maps(&frame.path, size)?;
        let facts = self.concepts.iter().map(|c| self.fact(*c, &maps, size)).collect();
        let seen: BTreeSet<u32> = maps.iter().flat_map(LabelMap::classes).collect();
        let name = |number: &u32| self.classes.get(*number as usize - 1).map(|c| c.first_name().to_owned());
        if let Some(odd) = seen.iter().find(|n| name(n).is_none()) {
            return Err(format!("its labels have the class {odd}; {FILE} names {}", self.classes.len()));
        }
        Ok(Known { facts, context: seen.iter().filter_map(name).chain(scene(&frame.path)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Format;
    use crate::dataset::sample::{Dataset, Presence};
    use image::{Rgb, RgbImage};

    const YES: Presence = Presence::Present;
    const NO: Presence = Presence::Absent;
    const OPEN: Presence = Presence::Unknown;
    const CAR: u32 = 300;

    /// A map of 4 x 4 labels: `label` in the upper `rows`, `rest` below; red is never a whole ten, blue any instance.
    fn map(path: &Path, label: u32, rows: u32, rest: u32) {
        let colour = |l: u32, x: u32| Rgb([(l / 256 * 10) as u8 + 7, (l % 256) as u8, x as u8 * 50]);
        RgbImage::from_fn(4, 4, |x, y| colour(if y < rows { label } else { rest }, x)).save(path).unwrap();
    }

    /// Class 1 is a wall, 2 a wheel, 300 a car; the others have names of their own, and two are a bank.
    fn objects() -> String {
        let class = |n: u32| match n {
            1 => r#"{"name": "wall", "part": 0.001}"#.to_owned(),
            2 => r#"{"name": "wheel", "part": 0.9}"#.to_owned(),
            3 => r#"{"name": "bank, sea bank"}"#.to_owned(),
            4 => r#"{"name": "bank, counter"}"#.to_owned(),
            CAR => r#"{"name": "car, auto"}"#.to_owned(),
            n => format!(r#"{{"name": "thing {n}"}}"#),
        };
        format!("[{}]", (1..=CAR).map(class).collect::<Vec<_>>().join(","))
    }

    /// a: a car and a wall, a wheel as a part of the second level; b: a wall; c: hardly labelled.
    fn tree() -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        for (i, name) in ["training/s/street/a", "training/s/street/b", "validation/c"].iter().enumerate() {
            let path = dir.path().join("images").join(name).with_extension("jpg");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_fn(4, 4, |x, y| Rgb([x as u8 * 60, y as u8 * 60, 80 * i as u8])).save(path).unwrap();
        }
        let at = |name: &str| dir.path().join("images").join(format!("{name}.png"));
        map(&at("training/s/street/a_seg"), CAR, 2, 1);
        map(&at("training/s/street/a_parts_1"), 5, 1, 0);
        map(&at("training/s/street/a_parts_2"), 2, 1, 0);
        map(&at("training/s/street/b_seg"), 1, 4, 1);
        map(&at("validation/c_seg"), 1, 1, 0);
        std::fs::write(dir.path().join(FILE), objects()).unwrap();
        let mut spec = DatasetSpec::of(Format::Ade20k);
        spec.root = Some(dir.path().to_path_buf());
        spec.concepts = ["car", "wheel", "wall"].map(str::to_owned).to_vec();
        (dir, spec)
    }

    #[test]
    fn objects_and_parts_are_told_by_colour() {
        let (dir, spec) = tree();
        let data = open(&spec, dir.path()).unwrap();
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        assert_eq!(presence, [[YES, YES, YES], [NO, OPEN, YES], [OPEN, OPEN, YES]]);
        let a = &data.samples()[0];
        assert_eq!((a.name.as_str(), a.source.as_str()), ("training-s-street-a", "training"));
        assert_eq!(data.samples()[2].source, "validation");
        assert_eq!(a.labels.iter().collect::<Vec<_>>(), ["car", "scene street", "thing 5", "wall", "wheel"]);
        assert_eq!(a.coverage, [0.5, 0.25, 0.5]);
        assert_eq!(data.mask(0, 1).unwrap().unwrap().coverage(), 0.25);
        assert!(data.mask(1, 1).unwrap().is_none());
    }

    #[test]
    fn what_is_not_of_this_form_is_told() {
        let (dir, mut spec) = tree();
        let message = |spec: &DatasetSpec| open(spec, dir.path()).unwrap_err().to_string();
        spec.concepts = vec!["bank".into()];
        assert!(message(&spec).contains("`bank` is `bank, sea bank` and `bank, counter`"));
        spec.concepts = vec!["bank, counter".into()];
        assert!(open(&spec, dir.path()).is_ok());
        spec.concepts = vec!["care".into()];
        assert!(message(&spec).contains("`car`"));
        spec.concepts.clear();
        assert!(message(&spec).contains("300 classes, too many"));
        spec.concepts = vec!["car".into()];
        map(&dir.path().join("images/validation/c_seg.png"), 301, 1, 0);
        assert!(message(&spec).contains("the class 301; objects.json names 300"));
        std::fs::remove_file(dir.path().join("images/validation/c_seg.png")).unwrap();
        assert!(message(&spec).contains("c_seg.png"));
        std::fs::write(dir.path().join(FILE), "[{}]").unwrap();
        assert!(message(&spec).contains("missing field `name`"));
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(message(&spec).contains("ade20k_objects.py"));
    }
}
