//! One folder a concept: `CONCEPT/**.png|jpg`, pictures without any of them in `negative/**` (its sub-folders are
//! sources), and where there are masks `masks/CONCEPT/STEM.png`, grey above zero where the concept is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};

use super::mask::Mask;
use super::pictures::{
    Cache, Frame, Labels, Pictures, cut, decode_mask, decode_mask_of, image_files, masks_digest, names, presence, stem,
};
use super::sample::{Dataset, Presence, Sample, Skipped};
use super::spec::DatasetSpec;
use super::tile::Window;
use crate::error::{Error, Result};

const NEGATIVE: &str = "negative";
const MASKS: &str = "masks";
const LAYOUT: &str =
    "wanted CONCEPT/*.jpg|png for every concept, negative/*.jpg|png, and masks/CONCEPT/NAME.png if any";

/// The dataset.
#[derive(Debug)]
pub struct Folder {
    concepts: Vec<String>,
    origins: BTreeMap<PathBuf, Origin>,
    pictures: Pictures,
    masks: Cache<GrayImage>,
}

/// What the place of a file says.
#[derive(Debug, Clone)]
enum Origin {
    /// It lies in the negatives.
    Negative,
    /// It lies in a concept's folder, and may have a mask.
    Concept(usize, Option<PathBuf>),
}

/// Opens folders of concepts in the study's root.
///
/// # Errors
/// When a folder is not there or empty, a concept has none, or too many files are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Folder> {
    let known = folders(root)?;
    let known: Vec<&str> = known.iter().map(String::as_str).filter(|n| ![NEGATIVE, MASKS].contains(n)).collect();
    if known.is_empty() {
        return Err(Error::file(root, "holds no folder of a concept", LAYOUT));
    }
    if let Some(wrong) = spec.concepts.iter().find(|c| !known.contains(&c.as_str())) {
        return Err(Error::unknown("folder of a concept", wrong, known));
    }
    let all = || known.iter().map(|c| (*c).to_owned()).collect();
    let concepts = if spec.concepts.is_empty() { all() } else { spec.concepts.clone() };
    let origins = origins(root, &concepts)?;
    let paths: Vec<PathBuf> = origins.keys().cloned().collect();
    let names = names(root, &paths);
    let frames = paths.into_iter().zip(names).map(|(path, name)| frame(path, name, root, spec)).collect();
    let label = |frame: &Frame, size: (u32, u32), windows: &[Window]| {
        let origin = origins.get(&frame.path).ok_or("it is not listed")?;
        labels(origin, size, windows, &concepts, spec.present_from)
    };
    let pictures = Pictures::index(frames, spec, label)?.merged();
    Ok(Folder { concepts, origins, pictures, masks: Cache::default() })
}

/// Names of the folders in `root`, sorted; hidden ones are passed over.
fn folders(root: &Path) -> Result<BTreeSet<String>> {
    if !root.is_dir() {
        return Err(Error::file(root, "there is no such folder", LAYOUT));
    }
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root).map_err(Error::io("read the folder", root))? {
        let path = entry.map_err(Error::io("read the folder", root))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') {
            found.insert(name);
        }
    }
    Ok(found)
}

/// Every image file by its path, with what its place says.
fn origins(root: &Path, concepts: &[String]) -> Result<BTreeMap<PathBuf, Origin>> {
    let negative = root.join(NEGATIVE);
    if !negative.is_dir() {
        let hint = "put pictures that show none of the concepts there: a probe cannot be fitted without";
        return Err(Error::file(&negative, "there is no folder of negatives", hint));
    }
    let negatives = some_files(&negative)?;
    let mut origins: BTreeMap<PathBuf, Origin> = negatives.into_iter().map(|p| (p, Origin::Negative)).collect();
    for (c, concept) in concepts.iter().enumerate() {
        let folder = root.join(concept);
        let files = some_files(&folder)?;
        let mut stems: BTreeMap<String, usize> = BTreeMap::new();
        files.iter().for_each(|f| *stems.entry(stem(f)).or_default() += 1);
        for file in files {
            let mask = mask_path(&root.join(MASKS).join(concept), &folder, &file, stems[&stem(&file)])?;
            origins.insert(file, Origin::Concept(c, mask));
        }
    }
    Ok(origins)
}

fn some_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = image_files(folder)?;
    if files.is_empty() {
        return Err(Error::file(folder, "holds no .png, .jpg or .jpeg file", LAYOUT));
    }
    Ok(files)
}

/// A picture's mask: at the same place below the masks as the picture below its concept, or right among the masks.
fn mask_path(masks: &Path, folder: &Path, file: &Path, namesakes: usize) -> Result<Option<PathBuf>> {
    let below = file.strip_prefix(folder).unwrap_or(file).with_extension("png");
    let (beside, flat) = (masks.join(&below), masks.join(below.file_name().unwrap_or_default()));
    if beside != flat && beside.is_file() {
        return Ok(Some(beside));
    }
    if !flat.is_file() {
        return Ok(None);
    }
    if namesakes > 1 {
        let problem = format!("{namesakes} pictures of this name lie in {}", folder.display());
        let hint = "give them different names, or put masks into the same sub-folders as the pictures";
        return Err(Error::file(&flat, problem, hint));
    }
    Ok(Some(flat))
}

/// The group is the file's name up to `group_until`; the source its concept, or its sub-folder of the negatives.
fn frame(path: PathBuf, name: String, root: &Path, spec: &DatasetSpec) -> Frame {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let until = spec.group_until.as_deref().filter(|u| !u.is_empty());
    let group = until.and_then(|until| file.split_once(until)).map_or(file.as_str(), |(group, _)| group).to_owned();
    let parts: Vec<_> = path.strip_prefix(root).unwrap_or(&path).iter().map(|p| p.to_string_lossy()).collect();
    let source = match parts.as_slice() {
        [first, sub, _, ..] if first == NEGATIVE => format!("{NEGATIVE}/{sub}"),
        [first, ..] => first.to_string(),
        [] => String::new(),
    };
    Frame { path, name, group, time: None, source }
}

fn labels(
    origin: &Origin,
    size: (u32, u32),
    windows: &[Window],
    concepts: &[String],
    present_from: f32,
) -> Result<Vec<Labels>, String> {
    let of = |presence| Labels {
        presence: vec![presence; concepts.len()],
        coverage: vec![f32::NAN; concepts.len()],
        ..Labels::default()
    };
    let (concept, mask) = match origin {
        Origin::Negative => return Ok(windows.iter().map(|_| of(Presence::Absent)).collect()),
        Origin::Concept(concept, mask) => (*concept, mask),
    };
    let mask = mask.as_deref().map(|m| decode_mask_of(m, size)).transpose()?;
    let label = |window: &Window| {
        let mut labels = of(Presence::Unknown);
        let name = concepts[concept].clone();
        if let Some(mask) = &mask {
            let mask = cut(mask, *window, |v| v > 0);
            let share = mask.coverage();
            (labels.presence[concept], labels.coverage[concept]) = (presence(share, present_from), share);
            labels.masks = masks_digest([(name.as_str(), &mask)]);
            labels.labels.extend((share > 0.0).then_some(name));
        } else if (window.width, window.height) == (size.0 as usize, size.1 as usize) {
            labels.presence[concept] = Presence::Present;
            labels.labels.insert(name);
        }
        labels
    };
    Ok(windows.iter().map(label).collect())
}

impl Dataset for Folder {
    fn concepts(&self) -> &[String] {
        &self.concepts
    }

    fn samples(&self) -> &[Sample] {
        self.pictures.samples()
    }

    fn skipped(&self) -> &[Skipped] {
        self.pictures.skipped()
    }

    fn image(&self, sample: usize) -> Result<RgbImage> {
        self.pictures.image(sample)
    }

    fn mask(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        for (frame, window) in self.pictures.places(sample) {
            if let Some(Origin::Concept(c, Some(path))) = self.origins.get(&frame.path)
                && *c == concept
            {
                let mask = self.masks.get(path, decode_mask)?;
                return Ok(Some(cut(&mask, window, |v| v > 0)));
            }
        }
        Ok(None)
    }
}
