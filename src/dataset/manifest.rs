//! `concepts.jsonl`: one JSON object a line for every image, with what is present, what is absent, and masks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::GrayImage;
use serde::Deserialize;

use super::mask::Mask;
use super::pictures::{
    Cache, Frame, Labels, OfPictures, Pictures, cut, decode_mask, decode_mask_of, masks_digest, names, presence,
};
use super::sample::Presence;
use super::spec::DatasetSpec;
use super::tile::Window;
use crate::error::{Error, Result};

/// The file in the root.
const FILE: &str = "concepts.jsonl";
const LINE: &str =
    r#"a line is such as {"image": "a.jpg", "present": ["Car"], "absent": ["Tree"], "masks": {"Car": "a.png"}}"#;

/// The dataset.
#[derive(Debug)]
pub struct Manifest {
    concepts: Vec<String>,
    lines: BTreeMap<PathBuf, Line>,
    pictures: Pictures,
    masks: Cache<GrayImage>,
}

/// What a line says of an image; paths are below the root.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    image: PathBuf,
    group: Option<String>,
    source: Option<String>,
    time: Option<f64>,
    #[serde(default)]
    present: BTreeSet<String>,
    #[serde(default)]
    absent: BTreeSet<String>,
    #[serde(default)]
    masks: BTreeMap<String, PathBuf>,
    /// Where it stands in the file.
    #[serde(skip)]
    number: usize,
}

/// Opens the manifest in the study's root.
///
/// # Errors
/// When it is not there, a line is broken, a concept stands in no line, or too many files are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Manifest> {
    let lines = read(root)?;
    let named = |l: &Line| l.present.iter().chain(&l.absent).chain(l.masks.keys()).cloned().collect::<Vec<_>>();
    let known: BTreeSet<String> = lines.values().flat_map(named).collect();
    if known.is_empty() {
        return Err(Error::file(&root.join(FILE), "names no concept", LINE));
    }
    if let Some(wrong) = spec.concepts.iter().find(|c| !known.contains(*c)) {
        return Err(Error::unknown("concept of the manifest", wrong, known.iter().map(String::as_str)));
    }
    let concepts: Vec<String> =
        if spec.concepts.is_empty() { known.into_iter().collect() } else { spec.concepts.clone() };
    let paths: Vec<PathBuf> = lines.keys().cloned().collect();
    let names = names(root, &paths);
    let frames = lines.iter().zip(names).map(|((path, line), name)| frame(path, line, name)).collect();
    let label = |frame: &Frame, size: (u32, u32), windows: &[Window]| {
        let line = lines.get(&frame.path).ok_or("it is not listed")?;
        let masks: BTreeMap<&str, GrayImage> = line
            .masks
            .iter()
            .map(|(concept, path)| Ok((concept.as_str(), decode_mask_of(&root.join(path), size)?)))
            .collect::<Result<_, String>>()?;
        let whole = |w: &Window| (w.width, w.height) == (size.0 as usize, size.1 as usize);
        Ok(windows.iter().map(|w| labels(line, &masks, *w, whole(w), &concepts, spec.present_from)).collect())
    };
    let pictures = Pictures::index(frames, spec, label)?.merged();
    let lines = lines.into_iter().map(|(path, line)| (path, line.below(root))).collect();
    Ok(Manifest { concepts, lines, pictures, masks: Cache::default() })
}

/// The lines by their images' paths.
fn read(root: &Path) -> Result<BTreeMap<PathBuf, Line>> {
    let path = root.join(FILE);
    if !path.is_file() {
        return Err(Error::file(&path, "there is no such file", LINE));
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let wrong = |number: usize, problem: String| Error::file(&path, format!("line {number}: {problem}"), LINE);
    let mut lines: BTreeMap<PathBuf, Line> = BTreeMap::new();
    for (i, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line: Line = serde_json::from_str(text).map_err(|e| wrong(i + 1, json_problem(&e)))?;
        if let Some(both) = line.present.intersection(&line.absent).next() {
            return Err(wrong(i + 1, format!("`{both}` is both present and absent")));
        }
        if line.image.as_os_str().is_empty() {
            return Err(wrong(i + 1, "the image has no name".into()));
        }
        let image = root.join(&line.image);
        if let Some(before) = lines.insert(image, Line { number: i + 1, ..line.clone() }) {
            let problem = format!("{} stands in line {} already", line.image.display(), before.number);
            return Err(wrong(i + 1, problem));
        }
    }
    if lines.is_empty() {
        return Err(Error::file(&path, "lists no image", LINE));
    }
    Ok(lines)
}

/// What is wrong with a line, with the column; serde's own line number is always 1 here.
fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let problem = text.split_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    format!("{problem} (column {})", error.column())
}

/// Without a group an image is its own.
fn frame(path: &Path, line: &Line, name: String) -> Frame {
    Frame {
        path: path.to_path_buf(),
        group: line.group.clone().unwrap_or_else(|| line.image.display().to_string()),
        time: line.time,
        source: line.source.clone().unwrap_or_else(|| "manifest".into()),
        name,
    }
}

/// A mask decides where there is one. What a line calls present need not be in every tile, what it calls absent is in
/// none.
fn labels(
    line: &Line,
    masks: &BTreeMap<&str, GrayImage>,
    window: Window,
    whole: bool,
    concepts: &[String],
    present_from: f32,
) -> Labels {
    let masks: BTreeMap<&str, Mask> = masks.iter().map(|(c, m)| (*c, cut(m, window, |v| v > 0))).collect();
    let shares: BTreeMap<&str, f32> = masks.iter().map(|(c, m)| (*c, m.coverage())).collect();
    let of = |concept: &String| match shares.get(concept.as_str()) {
        Some(share) => presence(*share, present_from),
        None if line.absent.contains(concept) => Presence::Absent,
        None if whole && line.present.contains(concept) => Presence::Present,
        None => Presence::Unknown,
    };
    let listed = line.present.iter().filter(|c| whole && !shares.contains_key(c.as_str())).cloned();
    let seen = shares.iter().filter(|(_, share)| **share > 0.0).map(|(c, _)| (*c).to_owned());
    Labels {
        presence: concepts.iter().map(of).collect(),
        coverage: concepts.iter().map(|c| shares.get(c.as_str()).copied().unwrap_or(f32::NAN)).collect(),
        masks: masks_digest(masks.iter().map(|(c, m)| (*c, m))),
        labels: listed.chain(seen).collect(),
    }
}

impl Line {
    /// The line with its masks' paths below the root.
    fn below(mut self, root: &Path) -> Self {
        self.masks.values_mut().for_each(|path| *path = root.join(&*path));
        self
    }
}

impl OfPictures for Manifest {
    fn studied(&self) -> &[String] {
        &self.concepts
    }

    fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    fn mask_of(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        for (frame, window) in self.pictures.places(sample) {
            let line = self.lines.get(&frame.path);
            if let Some(path) = line.and_then(|l| l.masks.get(&self.concepts[concept])) {
                let mask = self.masks.get(path, decode_mask)?;
                return Ok(Some(cut(&mask, window, |v| v > 0)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sample::Dataset;
    use crate::dataset::{Format, Tile};
    use image::RgbImage;

    /// Writes 8x8 images a.png to d.png, each of its own pixels, masks m.png (upper left quarter) and z.png (empty),
    /// and the lines.
    fn tree(lines: &str) -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        for (i, name) in ["a", "b", "c", "d"].iter().enumerate() {
            let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, i as u8]));
            image.save(dir.path().join(format!("{name}.png"))).unwrap();
        }
        GrayImage::from_fn(8, 8, |x, y| image::Luma([u8::from(x < 4 && y < 4)]))
            .save(dir.path().join("m.png"))
            .unwrap();
        GrayImage::new(8, 8).save(dir.path().join("z.png")).unwrap();
        std::fs::write(dir.path().join(FILE), lines).unwrap();
        let mut spec = DatasetSpec::of(Format::Manifest);
        spec.root = Some(dir.path().to_path_buf());
        (dir, spec)
    }

    const LINES: &str = r#"
        {"image": "b.png", "present": ["car", "sun"], "absent": ["tree"], "group": "g", "source": "s", "time": 1.5}
        {"image": "a.png", "masks": {"car": "m.png", "tree": "z.png"}}

        {"image": "c.png", "absent": ["car"]}
    "#;

    #[test]
    fn lists_and_masks_give_labels() {
        let (dir, mut spec) = tree(LINES);
        let all = open(&spec, dir.path()).unwrap();
        assert_eq!(all.concepts(), ["car", "sun", "tree"]);
        spec.concepts = vec!["tree".into(), "car".into()];
        let data = open(&spec, dir.path()).unwrap();
        let [a, b, c] = data.samples() else { panic!("{:?}", data.samples()) };
        assert_eq!((a.name.as_str(), a.group.as_str(), a.source.as_str()), ("a", "a.png", "manifest"));
        assert_eq!(
            (a.presence.as_slice(), &a.coverage),
            ([Presence::Absent, Presence::Present].as_slice(), &vec![0.0, 0.25])
        );
        assert_eq!((b.group.as_str(), b.source.as_str(), b.time), ("g", "s", Some(1.5)));
        assert_eq!(b.presence, [Presence::Absent, Presence::Present]);
        assert_eq!(b.labels.iter().collect::<Vec<_>>(), ["car", "sun"]);
        assert!(b.coverage[1].is_nan() && b.masks.is_none() && a.masks.is_some());
        assert_eq!(c.presence, [Presence::Unknown, Presence::Absent]);
        assert_eq!(data.mask(0, 1).unwrap().unwrap().coverage(), 0.25);
        assert!(data.mask(1, 1).unwrap().is_none());
        spec.present_from = 0.5;
        assert_eq!(open(&spec, dir.path()).unwrap().samples()[0].presence[1], Presence::Unknown);
    }

    #[test]
    fn a_list_speaks_of_the_image_and_not_of_tiles() {
        let (dir, mut spec) = tree(LINES);
        spec.tile = Some(Tile { size: 4, stride: None });
        let data = open(&spec, dir.path()).unwrap();
        let car: Vec<Presence> = data.samples().iter().map(|s| s.presence[0]).collect();
        let (yes, no, open) = (Presence::Present, Presence::Absent, Presence::Unknown);
        assert_eq!(car, [yes, no, no, no, open, open, open, open, no, no, no, no]);
        assert!(data.samples()[4].labels.is_empty());
    }

    #[test]
    fn broken_lines_are_told_by_number() {
        let cases = [
            ("{\"image\": \"a.png\", \"present\": [\"x\"]}\n{\"image\": ", "line 2"),
            ("\n\n{\"image\": \"a.png\", \"labels\": []}", "line 3: unknown field `labels`"),
            ("{\"present\": []}", "line 1: missing field `image`"),
            ("{\"image\": \"a.png\", \"present\": [\"x\"], \"absent\": [\"x\"]}", "both present and absent"),
            ("{\"image\": \"a.png\"}\n{\"image\": \"a.png\"}", "line 2: a.png stands in line 1"),
            ("{\"image\": \"a.png\"}", "names no concept"),
            ("\n", "lists no image"),
        ];
        for (lines, wanted) in cases {
            let (dir, spec) = tree(lines);
            let message = open(&spec, dir.path()).unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains(FILE), "{wanted}: {message}");
        }
    }

    #[test]
    fn what_is_not_there_is_told() {
        let (dir, mut spec) = tree(LINES);
        spec.concepts = vec!["cat".into()];
        assert!(open(&spec, dir.path()).unwrap_err().to_string().contains("`car`"));
        assert!(open(&spec, &dir.path().join("x")).unwrap_err().to_string().contains("no such file"));
        GrayImage::new(9, 8).save(dir.path().join("m.png")).unwrap();
        std::fs::write(dir.path().join("c.png"), "text").unwrap();
        spec.concepts.clear();
        let message = open(&spec, dir.path()).unwrap_err().to_string();
        for part in ["2 of 3", "m.png has 9x8 pixels", "c.png"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
