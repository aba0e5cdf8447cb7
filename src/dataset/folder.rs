//! One folder a concept: `CONCEPT/**.png|jpg`, pictures without any of them in `negative/**` (its sub-folders are
//! sources), and where there are masks `masks/CONCEPT/STEM.png`, grey above zero where the concept is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::GrayImage;

use super::mask::Mask;
use super::pictures::{
    Cache, Frame, Labels, OfPictures, Pictures, cut, decode_mask, decode_mask_of, image_files, masks_digest, names,
    presence, stem,
};
use super::sample::Presence;
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

impl OfPictures for Folder {
    fn studied(&self) -> &[String] {
        &self.concepts
    }

    fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    fn mask_of(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sample::Dataset;
    use crate::dataset::{Format, Tile};
    use image::RgbImage;

    fn picture(path: &Path, seed: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, seed])).save(path).unwrap();
    }

    /// A grey picture with `size` by `size` pixels set in the upper left corner.
    fn mask(path: &Path, size: u32, width: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let grey = |x, y| image::Luma([u8::from(x < size && y < size) * 255]);
        GrayImage::from_fn(width, 8, grey).save(path).unwrap();
    }

    /// Dots: d1 (mask of a quarter), d2 (mask of a pixel), d3 (empty mask), d4 (no mask). Stripes: s1, and d4 again.
    fn tree() -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, seed) in [("dots/d_1.png", 1), ("dots/d_2.png", 2), ("dots/d_3.png", 3), ("dots/sub/d_4.png", 4)] {
            picture(&at(name), seed);
        }
        for (name, seed) in [("stripes/copy.png", 4), ("stripes/s_1.jpg", 5)] {
            picture(&at(name), seed);
        }
        for (name, seed) in [("negative/road/n.png", 6), ("negative/sky/n.png", 7), ("negative/loose.png", 8)] {
            picture(&at(name), seed);
        }
        for (name, size) in [("masks/dots/d_1.png", 4), ("masks/dots/d_2.png", 1), ("masks/dots/d_3.png", 0)] {
            mask(&at(name), size, 8);
        }
        let mut spec = DatasetSpec::of(Format::Folder);
        spec.root = Some(dir.path().to_path_buf());
        (dir, spec)
    }

    const YES: Presence = Presence::Present;
    const NO: Presence = Presence::Absent;
    const OPEN: Presence = Presence::Unknown;

    #[test]
    fn the_place_of_a_file_is_its_label() {
        let (dir, mut spec) = tree();
        (spec.group_until, spec.present_from) = (Some("_".into()), 0.1);
        let data = open(&spec, dir.path()).unwrap();
        assert_eq!(data.concepts(), ["dots", "stripes"]);
        let of = |name: &str| data.samples().iter().find(|s| s.name == name).unwrap();
        let presence = |name: &str| of(name).presence.clone();
        assert_eq!(data.samples().len(), 8);
        assert_eq!(presence("dots-d_1"), [YES, OPEN]);
        assert_eq!(presence("dots-d_2"), [OPEN, OPEN]);
        assert_eq!(presence("dots-d_3"), [NO, OPEN]);
        assert_eq!(presence("stripes-s_1"), [OPEN, YES]);
        assert_eq!(presence("negative-sky-n"), [NO, NO]);
        assert_eq!((of("dots-d_1").coverage[0], of("dots-d_1").group.as_str()), (0.25, "d"));
        assert_eq!(of("dots-d_1").source, "dots");
        let source = |name: &str| of(name).source.clone();
        assert_eq!([source("negative-sky-n"), source("negative-loose")], ["negative/sky", "negative"]);
        assert_eq!(of("negative-loose").group, "loose.png");
        assert_eq!(data.mask(0, 0).unwrap().unwrap().coverage(), 0.25);
        assert!(data.mask(0, 1).unwrap().is_none());
    }

    #[test]
    fn the_same_pixels_are_one_sample() {
        let (dir, spec) = tree();
        mask(&dir.path().join("masks/stripes/copy.png"), 4, 8);
        let data = open(&spec, dir.path()).unwrap();
        let at = data.samples().iter().position(|s| s.name == "dots-sub-d_4").unwrap();
        let sample = &data.samples()[at];
        assert_eq!(sample.presence, [YES, YES]);
        assert_eq!(sample.labels.iter().collect::<Vec<_>>(), ["dots", "stripes"]);
        assert!(sample.coverage[0].is_nan() && sample.masks.is_some());
        assert_eq!((sample.coverage[1], data.mask(at, 1).unwrap().unwrap().coverage()), (0.25, 0.25));
        assert!(data.samples().iter().all(|s| s.name != "stripes-copy"));
        picture(&dir.path().join("negative/again.png"), 4);
        let data = open(&spec, dir.path()).unwrap();
        assert_eq!(data.samples()[at].presence, [OPEN, OPEN]);
    }

    #[test]
    fn only_a_mask_knows_tiles() {
        let (dir, mut spec) = tree();
        spec.concepts = vec!["dots".into()];
        let tiles = |spec: &mut DatasetSpec, size| {
            spec.tile = Some(Tile { size, stride: None });
            let data = open(spec, dir.path()).unwrap();
            let of = |name: &str| {
                let found = data.samples().iter().filter(|s| s.name.starts_with(name));
                found.map(|s| s.presence[0]).collect::<Vec<_>>()
            };
            (of("dots-d_1"), of("dots-sub-d_4"), of("negative-sky"))
        };
        assert_eq!(tiles(&mut spec, 4), (vec![YES, NO, NO, NO], vec![OPEN; 4], vec![NO; 4]));
        assert_eq!(tiles(&mut spec, 8), (vec![YES], vec![YES], vec![NO]));
    }

    #[test]
    fn unusable_files_are_told() {
        let (dir, mut spec) = tree();
        let at = |name: &str| dir.path().join(name);
        let whole = std::fs::read(at("stripes/s_1.jpg")).unwrap();
        std::fs::write(at("stripes/s_1.jpg"), &whole[..whole.len() - 3]).unwrap();
        std::fs::write(at("negative/loose.png"), "a text").unwrap();
        mask(&at("masks/dots/d_1.png"), 4, 9);
        let message = open(&spec, dir.path()).unwrap_err().to_string();
        for part in ["3 of 9", "s_1.jpg (not a whole", "loose.png (not a whole", "d_1.png has 9x8 pixels"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        spec.max_skipped = 0.5;
        assert_eq!(open(&spec, dir.path()).unwrap().skipped().len(), 3);
    }

    #[test]
    fn missing_folders_are_told() {
        let (dir, mut spec) = tree();
        let message = |spec: &DatasetSpec, root: &Path| open(spec, root).unwrap_err().to_string();
        assert!(message(&spec, &dir.path().join("x")).contains("no such folder"));
        spec.concepts = vec!["dot".into()];
        assert!(message(&spec, dir.path()).contains("`dots`"));
        spec.concepts.clear();
        picture(&dir.path().join("dots/other/d_1.png"), 9);
        assert!(message(&spec, dir.path()).contains("2 pictures of this name"));
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        spec.concepts = vec!["empty".into()];
        assert!(message(&spec, dir.path()).contains("holds no .png"));
        std::fs::remove_dir_all(dir.path().join("negative")).unwrap();
        assert!(message(&spec, dir.path()).contains("no folder of negatives"));
    }
}
