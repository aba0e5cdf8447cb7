//! PASCAL-Part (Chen et al. 2014), converted once by tests/interop/pascal_part.py: `JPEGImages/ID.jpg`,
//! `annotations/ID.json` and `annotations/ID_LAYER.png`. Concepts are objects (`dog`) and their parts (`dog/head`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::annotated::{Annotated, Fact, Known, Layout};
use super::label_map::{LabelMap, blank};
use super::pictures::Frame;
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const LAYOUT: &str = "wanted JPEGImages/ID.jpg and annotations/ID.json; make the latter with \
    python tests/interop/pascal_part.py Annotations_Part VOC2010/annotations";
const SOURCE: &str = "voc2010";

/// The annotations.
#[derive(Debug)]
pub struct PascalPart {
    concepts: Vec<String>,
    pictures: BTreeMap<PathBuf, Picture>,
}

/// What is annotated in a picture, and where its layers lie.
#[derive(Debug)]
struct Picture {
    annotations: PathBuf,
    id: String,
    entry: Entry,
}

#[derive(Debug, Deserialize)]
struct Entry {
    layers: usize,
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    name: String,
    layer: usize,
    value: u32,
    parts: Vec<Piece>,
}

#[derive(Debug, Deserialize)]
struct Piece {
    name: String,
    layer: usize,
    value: u32,
}

/// Opens PASCAL-Part in the study's root.
///
/// # Errors
/// When there are no annotations, one is not of this form, a concept stands in none, or too many pictures are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<PascalPart>> {
    let pictures = read(root)?;
    let known: BTreeSet<String> = pictures.values().flat_map(|p| p.entry.names()).collect();
    if let Some(wrong) = spec.concepts.iter().find(|c| !known.contains(*c)) {
        return Err(Error::unknown("object or part of PASCAL-Part", wrong, known.iter().map(String::as_str)));
    }
    let concepts: Vec<String> =
        if spec.concepts.is_empty() { known.into_iter().collect() } else { spec.concepts.clone() };
    let frames = pictures.iter().map(|(path, picture)| Frame {
        path: path.clone(),
        group: picture.id.clone(),
        name: picture.id.clone(),
        time: None,
        source: SOURCE.into(),
    });
    Annotated::open(spec, concepts.clone(), frames.collect(), PascalPart { concepts, pictures })
}

/// Every annotation by its picture's path.
fn read(root: &Path) -> Result<BTreeMap<PathBuf, Picture>> {
    let annotations = root.join("annotations");
    if !annotations.is_dir() {
        return Err(Error::file(&annotations, "there is no such folder", LAYOUT));
    }
    let mut files = Vec::new();
    for file in std::fs::read_dir(&annotations).map_err(Error::io("read the folder", &annotations))? {
        let path = file.map_err(Error::io("read the folder", &annotations))?.path();
        files.extend(path.extension().is_some_and(|e| e == "json").then_some(path));
    }
    if files.is_empty() {
        return Err(Error::file(&annotations, "holds no .json file", LAYOUT));
    }
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| Error::file(path, e.to_string(), LAYOUT))?;
        let id = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let image = root.join("JPEGImages").join(format!("{id}.jpg"));
        Ok((image, Picture { annotations: annotations.clone(), id, entry }))
    };
    files.par_iter().map(read).collect()
}

impl Entry {
    /// The objects, and the parts with their objects.
    fn names(&self) -> impl Iterator<Item = String> {
        let parts = |o: &Object| o.parts.iter().map(|p| format!("{}/{}", o.name, p.name)).collect::<Vec<_>>();
        self.objects.iter().flat_map(move |o| parts(o).into_iter().chain([o.name.clone()]))
    }

    /// Layer and value of every region of a concept.
    fn regions(&self, concept: &str) -> Vec<(usize, u32)> {
        let Some((object, part)) = concept.split_once('/') else {
            return self.objects.iter().filter(|o| o.name == concept).map(|o| (o.layer, o.value)).collect();
        };
        let parts = self.objects.iter().filter(|o| o.name == object).flat_map(|o| &o.parts);
        parts.filter(|p| p.name == part).map(|p| (p.layer, p.value)).collect()
    }

    /// Whether a concept would be listed if it could be seen: an object always, a part unless its object has no parts
    /// at all.
    fn tells(&self, concept: &str) -> bool {
        let object = concept.split_once('/').map(|(object, _)| object);
        object.is_none_or(|name| !self.objects.iter().any(|o| o.name == name && o.parts.is_empty()))
    }
}

impl Picture {
    fn layers(&self, size: (u32, u32)) -> Result<Vec<LabelMap>, String> {
        let read = |layer: usize| {
            let path = self.annotations.join(format!("{}_{layer}.png", self.id));
            let map = LabelMap::read(&path, |[r, g, _]| u32::from(r) + 256 * u32::from(g))?;
            let (width, height) = map.size();
            if (width, height) != (size.0 as usize, size.1 as usize) {
                let wanted = format!("the picture {}x{}", size.0, size.1);
                return Err(format!("its labels {} have {width}x{height} pixels, {wanted}", path.display()));
            }
            Ok(map)
        };
        (0..self.entry.layers).map(read).collect()
    }

    fn fact(&self, concept: &str, layers: &[LabelMap], size: (u32, u32)) -> Result<Fact, String> {
        let regions = self.entry.regions(concept);
        if regions.is_empty() {
            return Ok(if self.entry.tells(concept) { Fact::Nowhere } else { Fact::Unknown });
        }
        let mut mask = blank(size);
        for (layer, value) in regions {
            let map =
                layers.get(layer).ok_or_else(|| format!("`{concept}` is in layer {layer} of {}", layers.len()))?;
            map.paint(value, &mut mask);
        }
        Ok(if mask.pixels.contains(&true) { Fact::At(mask) } else { Fact::Unknown })
    }
}

impl Layout for PascalPart {
    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String> {
        let picture = self.pictures.get(&frame.path).ok_or("it is not listed")?;
        let layers = picture.layers(size)?;
        let facts = self.concepts.iter().map(|c| picture.fact(c, &layers, size)).collect::<Result<_, _>>()?;
        Ok(Known { facts, context: picture.entry.names().collect() })
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

    const DOGS: &str = r#"{"layers": 2, "objects": [
        {"name": "dog", "layer": 0, "value": 1, "parts": [{"name": "head", "layer": 1, "value": 258}]},
        {"name": "dog", "layer": 0, "value": 2, "parts": [{"name": "tail", "layer": 1, "value": 3}]}]}"#;
    const BARE: &str = r#"{"layers": 1, "objects": [{"name": "dog", "layer": 0, "value": 1, "parts": []}]}"#;
    const NONE: &str = r#"{"layers": 0, "objects": []}"#;

    /// A map of 4 x 4 values, one for every row.
    fn map(path: &Path, rows: [u32; 4]) {
        let colour = |v: u32| Rgb([(v % 256) as u8, (v / 256) as u8, 0]);
        RgbImage::from_fn(4, 4, |_, y| colour(rows[y as usize])).save(path).unwrap();
    }

    /// a: two dogs with a head and a tail; b: a dog whose parts were not annotated; c: nothing.
    fn tree() -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("JPEGImages")).unwrap();
        std::fs::create_dir(dir.path().join("annotations")).unwrap();
        for (i, (id, entry)) in [("a", DOGS), ("b", BARE), ("c", NONE)].iter().enumerate() {
            let image = RgbImage::from_fn(4, 4, |x, y| Rgb([x as u8 * 60, y as u8 * 60, 80 * i as u8]));
            image.save(dir.path().join(format!("JPEGImages/{id}.jpg"))).unwrap();
            std::fs::write(dir.path().join(format!("annotations/{id}.json")), entry).unwrap();
        }
        map(&dir.path().join("annotations/a_0.png"), [1, 1, 2, 0]);
        map(&dir.path().join("annotations/a_1.png"), [258, 0, 3, 0]);
        map(&dir.path().join("annotations/b_0.png"), [1, 1, 1, 1]);
        let mut spec = DatasetSpec::of(Format::PascalPart);
        spec.root = Some(dir.path().to_path_buf());
        (dir, spec)
    }

    #[test]
    fn parts_that_were_not_annotated_are_unknown() {
        let (dir, spec) = tree();
        let data = open(&spec, dir.path()).unwrap();
        assert_eq!(data.concepts(), ["dog", "dog/head", "dog/tail"]);
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        assert_eq!(presence, [[YES, YES, YES], [YES, OPEN, OPEN], [NO, NO, NO]]);
        assert_eq!(data.samples()[0].coverage, [0.75, 0.25, 0.25]);
        assert_eq!(data.mask(0, 1).unwrap().unwrap().pixels[..5], [true, true, true, true, false]);
        assert!(data.mask(1, 1).unwrap().is_none());
        assert_eq!(data.samples()[0].labels.iter().collect::<Vec<_>>(), ["dog", "dog/head", "dog/tail"]);
    }

    #[test]
    fn what_is_not_of_this_form_is_told() {
        let (dir, mut spec) = tree();
        let message = |spec: &DatasetSpec| open(spec, dir.path()).unwrap_err().to_string();
        spec.concepts = vec!["dog/hed".into()];
        assert!(message(&spec).contains("`dog/head`"));
        spec.concepts.clear();
        let write = |text: &str| std::fs::write(dir.path().join("annotations/c.json"), text).unwrap();
        write("{}");
        assert!(message(&spec).contains("missing field `layers`"));
        write(&BARE.replace("\"layers\": 1", "\"layers\": 0"));
        assert!(message(&spec).contains("`dog` is in layer 0 of 0"));
        write(&BARE.replace("\"layers\": 1", "\"layers\": 99999999999"));
        assert!(message(&spec).contains("c_0.png"));
        std::fs::remove_dir_all(dir.path().join("annotations")).unwrap();
        assert!(message(&spec).contains("pascal_part.py"));
    }
}
