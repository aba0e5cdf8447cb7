//! Describable Textures (Cimpoi et al. 2014): `labels/labels_joint_anno.txt` with a picture and its attributes on every
//! line, and `images/CLASS/*.jpg`. There are no masks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::annotated::{Annotated, Fact, Known, Layout};
use super::pictures::{Frame, names};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const FILE: &str = "labels/labels_joint_anno.txt";
const LINE: &str = "a line is such as `banded/banded_0002.jpg banded striped`, and the picture in images/banded/";

/// The annotations.
#[derive(Debug)]
pub struct Dtd {
    concepts: Vec<String>,
    pictures: BTreeMap<PathBuf, BTreeSet<String>>,
}

/// Opens DTD in the study's root.
///
/// # Errors
/// When the list is not there, a line is broken, a concept is no attribute, or too many pictures are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<Dtd>> {
    let pictures = read(root)?;
    let known: BTreeSet<&str> = pictures.values().flatten().map(String::as_str).collect();
    if let Some(wrong) = spec.concepts.iter().find(|c| !known.contains(c.as_str())) {
        return Err(Error::unknown("attribute of DTD", wrong, known));
    }
    let all = || known.iter().map(|c| (*c).to_owned()).collect();
    let concepts: Vec<String> = if spec.concepts.is_empty() { all() } else { spec.concepts.clone() };
    let paths: Vec<PathBuf> = pictures.keys().cloned().collect();
    let frames = paths.iter().zip(names(&root.join("images"), &paths));
    let frame = |(path, name): (&PathBuf, String)| Frame {
        path: path.clone(),
        group: name.clone(),
        name,
        time: None,
        source: "dtd".into(),
    };
    Annotated::open(spec, concepts.clone(), frames.map(frame).collect(), Dtd { concepts, pictures })
}

/// The attributes by the pictures' paths.
fn read(root: &Path) -> Result<BTreeMap<PathBuf, BTreeSet<String>>> {
    let path = root.join(FILE);
    if !path.is_file() {
        return Err(Error::file(&path, "there is no such file", "unpack dtd-r1.0.1.tar.gz and name its folder"));
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let mut pictures = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let wrong = |problem: String| Error::file(&path, format!("line {}: {problem}", i + 1), LINE);
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let attributes: BTreeSet<String> = words.map(str::to_owned).collect();
        if attributes.is_empty() {
            return Err(wrong(format!("{name} has no attribute")));
        }
        if pictures.insert(root.join("images").join(name), attributes).is_some() {
            return Err(wrong(format!("{name} is listed twice")));
        }
    }
    if pictures.is_empty() {
        return Err(Error::file(&path, "lists no picture", LINE));
    }
    Ok(pictures)
}

impl Layout for Dtd {
    fn known(&self, frame: &Frame, _size: (u32, u32)) -> Result<Known, String> {
        let attributes = self.pictures.get(&frame.path).ok_or("it is not listed")?;
        let fact = |concept: &String| if attributes.contains(concept) { Fact::Present } else { Fact::Absent };
        Ok(Known { facts: self.concepts.iter().map(fact).collect(), context: attributes.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sample::{Dataset, Presence};
    use crate::dataset::{Format, Tile};
    use image::RgbImage;

    const LINES: &str =
        "banded/banded_0002.jpg banded striped \nbanded/banded_0004.jpg banded\n\nwoven/woven_0001.jpg woven\n";

    fn tree(lines: &str) -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        for (i, name) in ["banded/banded_0002", "banded/banded_0004", "woven/woven_0001"].iter().enumerate() {
            let path = dir.path().join("images").join(name).with_extension("jpg");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 80 * i as u8])).save(path).unwrap();
        }
        std::fs::create_dir(dir.path().join("labels")).unwrap();
        std::fs::write(dir.path().join(FILE), lines).unwrap();
        let mut spec = DatasetSpec::of(Format::Dtd);
        spec.root = Some(dir.path().to_path_buf());
        (dir, spec)
    }

    #[test]
    fn what_a_line_does_not_name_is_absent() {
        let (dir, mut spec) = tree(LINES);
        let data = open(&spec, dir.path()).unwrap();
        assert_eq!(data.concepts(), ["banded", "striped", "woven"]);
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        let (yes, no) = (Presence::Present, Presence::Absent);
        assert_eq!(presence, [[yes, yes, no], [yes, no, no], [no, no, yes]]);
        assert_eq!(data.samples()[0].name, "banded-banded_0002");
        assert!(data.samples()[0].coverage[0].is_nan() && data.mask(0, 0).unwrap().is_none());
        (spec.concepts, spec.tile) = (vec!["woven".into()], Some(Tile { size: 4, stride: None }));
        let data = open(&spec, dir.path()).unwrap();
        let presence: Vec<Presence> = data.samples().iter().map(|s| s.presence[0]).collect();
        assert_eq!(presence, [vec![no; 8], vec![Presence::Unknown; 4]].concat());
    }

    #[test]
    fn broken_lists_are_told() {
        for (lines, wanted) in [
            ("banded/banded_0002.jpg", "line 1: banded/banded_0002.jpg has no attribute"),
            ("a.jpg banded\na.jpg woven", "line 2: a.jpg is listed twice"),
            ("\n", "lists no picture"),
            ("a.jpg banded", "a.jpg (cannot be read"),
        ] {
            let (dir, spec) = tree(lines);
            let message = open(&spec, dir.path()).unwrap_err().to_string();
            assert!(message.contains(wanted), "{wanted}: {message}");
        }
        let (dir, mut spec) = tree(LINES);
        spec.concepts = vec!["wovn".into()];
        assert!(open(&spec, dir.path()).unwrap_err().to_string().contains("`woven`"));
        assert!(open(&spec, &dir.path().join("x")).unwrap_err().to_string().contains("no such file"));
    }
}
