//! CamVid road scenes (Brostow et al. 2009): `images/{train,val,test}/*.jpg|png`, `masks/{train,val,test}/*.png` with
//! class numbers. The official splits are not used: their frames lie side by side in time.

use std::path::{Path, PathBuf};

use image::GrayImage;

use super::mask::Mask;
use super::pictures::{Cache, Frame, Labels, OfPictures, Pictures, cut, decode_mask, image_files, stem};
use super::sample::Presence;
use super::spec::DatasetSpec;
use super::tile::Window;
use crate::error::{Error, Result};
use crate::store::digest::Digest;

/// Class names by their number in the masks.
const CLASSES: [&str; 12] = [
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "Sign",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
    "Unlabelled",
];
const UNLABELLED: u8 = 11;
/// Frames of a second of video.
const RATE: f64 = 30.0;

/// The dataset.
#[derive(Debug)]
pub struct Camvid {
    concepts: Vec<String>,
    classes: Vec<u8>,
    pictures: Pictures,
    masks: Cache<GrayImage>,
}

/// Opens CamVid in the study's root.
///
/// # Errors
/// When the folders are not there, a concept is none of the classes, or too many files are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Camvid> {
    let known = &CLASSES[..usize::from(UNLABELLED)];
    let concepts: Vec<String> =
        if spec.concepts.is_empty() { known.iter().map(|c| (*c).to_owned()).collect() } else { spec.concepts.clone() };
    let class = |name: &String| {
        let found = known.iter().position(|c| c == name);
        found.map(|i| i as u8).ok_or_else(|| Error::unknown("concept of CamVid", name, known.iter().copied()))
    };
    let classes = concepts.iter().map(class).collect::<Result<Vec<u8>>>()?;
    let images = root.join("images");
    if !images.is_dir() {
        let hint = "wanted a folder with images/{train,val}/*.jpg and masks/{train,val}/*.png";
        return Err(Error::file(&images, "there is no such folder", hint));
    }
    let frames = image_files(&images)?.into_iter().map(frame).collect();
    let label = |frame: &Frame, size: (u32, u32), windows: &[Window]| {
        let mask = decode_mask(&mask_path(&frame.path)).map_err(|e| format!("its mask {e}"))?;
        if mask.dimensions() != size {
            let (w, h) = mask.dimensions();
            return Err(format!("its mask has {w}x{h} pixels, the image {}x{}", size.0, size.1));
        }
        if let Some(odd) = mask.as_raw().iter().find(|v| usize::from(**v) >= CLASSES.len()) {
            return Err(format!("its mask has the value {odd}; classes are 0 to {UNLABELLED}"));
        }
        Ok(windows.iter().map(|w| labels(&mask, *w, &classes, spec.present_from)).collect())
    };
    let pictures = Pictures::index(frames, spec, label)?;
    Ok(Camvid { concepts, classes, pictures, masks: Cache::default() })
}

/// A frame's clip is the text before the last `_`, its time the number after it.
fn frame(path: PathBuf) -> Frame {
    let name = stem(&path);
    let (clip, number) = name.rsplit_once('_').unwrap_or((&name, ""));
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let time = digits.parse::<f64>().ok().map(|n| n / RATE);
    Frame { group: clip.to_owned(), time, source: "camvid".into(), name: name.clone(), path }
}

/// `images/train/NAME.jpg` has the mask `masks/train/NAME.png`.
fn mask_path(image: &Path) -> PathBuf {
    let split = image.parent().unwrap_or(Path::new(""));
    let part = split.file_name().unwrap_or_default();
    let root = split.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    root.join("masks").join(part).join(image.file_name().unwrap_or_default()).with_extension("png")
}

fn labels(mask: &GrayImage, window: Window, classes: &[u8], present_from: f32) -> Labels {
    let mut counts = [0usize; CLASSES.len()];
    let mut bytes = Vec::with_capacity(window.width * window.height);
    for y in window.y..window.y + window.height {
        bytes.extend_from_slice(&mask.as_raw()[y * mask.width() as usize + window.x..][..window.width]);
    }
    bytes.iter().for_each(|v| counts[usize::from(*v)] += 1);
    let share = |class: &u8| counts[usize::from(*class)] as f32 / bytes.len().max(1) as f32;
    let presence = |class: &u8| match share(class) {
        0.0 => Presence::Absent,
        s if s >= present_from => Presence::Present,
        _ => Presence::Unknown,
    };
    let seen = CLASSES.iter().zip(counts).take(usize::from(UNLABELLED)).filter(|(_, count)| *count > 0);
    Labels {
        presence: classes.iter().map(presence).collect(),
        coverage: classes.iter().map(share).collect(),
        masks: Some(Digest::of(&bytes)),
        labels: seen.map(|(name, _)| (*name).to_owned()).collect(),
    }
}

impl OfPictures for Camvid {
    fn studied(&self) -> &[String] {
        &self.concepts
    }

    fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    fn mask_of(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        let (frame, window) = self.pictures.place(sample);
        let mask = self.masks.get(&mask_path(&frame.path), decode_mask)?;
        Ok(Some(cut(&mask, window, |v| v == self.classes[concept])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sample::Dataset;
    use crate::dataset::{Format, Tile};
    use image::RgbImage;

    fn spec(root: &Path, tile: Option<Tile>) -> DatasetSpec {
        let mut spec = DatasetSpec::of(Format::Camvid);
        (spec.root, spec.tile, spec.concepts) = (Some(root.to_path_buf()), tile, vec!["Car".into(), "Tree".into()]);
        spec
    }

    /// Two clips of four 8x8 frames; a car of 4x4 pixels in the upper left corner of even frames.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for kind in ["images", "masks"] {
            std::fs::create_dir_all(dir.path().join(kind).join("train")).unwrap();
        }
        for i in 0..8u32 {
            let name = format!("clip{}_0{}", i / 4, 30 * i);
            let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, i as u8]));
            image.save(dir.path().join(format!("images/train/{name}.png"))).unwrap();
            let car = |x, y| if i % 2 == 0 && x < 4 && y < 4 { 8 } else { 3 };
            let mask = GrayImage::from_fn(8, 8, |x, y| image::Luma([car(x, y)]));
            mask.save(dir.path().join(format!("masks/train/{name}.png"))).unwrap();
        }
        dir
    }

    #[test]
    fn whole_frames_and_tiles() {
        let dir = tree();
        let whole = open(&spec(dir.path(), None), dir.path()).unwrap();
        assert_eq!(whole.samples().len(), 8);
        assert_eq!(whole.samples()[0].presence, [Presence::Present, Presence::Absent]);
        assert_eq!((whole.samples()[0].coverage[0], whole.samples()[1].time), (0.25, Some(1.0)));
        let tiles = open(&spec(dir.path(), Some(Tile { size: 4, stride: None })), dir.path()).unwrap();
        assert_eq!(tiles.samples().len(), 32);
        assert_eq!(tiles.samples()[3].name, "clip0_00@4,4");
        assert_eq!(tiles.samples()[0].coverage, [1.0, 0.0]);
        assert_eq!(tiles.samples()[1].presence[0], Presence::Absent);
        assert_eq!(tiles.image(2).unwrap().get_pixel(0, 0).0, [0, 4, 0]);
        assert!(tiles.mask(0, 0).unwrap().unwrap().pixels.iter().all(|p| *p));
    }

    #[test]
    fn unusable_files_are_listed_and_too_many_refused() {
        let dir = tree();
        std::fs::write(dir.path().join("images/train/clip0_00.png"), b"not an image").unwrap();
        let mut few = spec(dir.path(), None);
        few.max_skipped = 0.2;
        let opened = open(&few, dir.path()).unwrap();
        assert_eq!((opened.samples().len(), opened.skipped().len()), (7, 1));
        GrayImage::new(9, 8).save(dir.path().join("masks/train/clip0_030.png")).unwrap();
        let message = open(&few, dir.path()).unwrap_err().to_string();
        for part in ["2 of 8", "clip0_00.png", "9x8 pixels", "max_skipped"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn wrong_names_are_told() {
        let dir = tree();
        let mut wrong = spec(dir.path(), None);
        wrong.concepts = vec!["Cars".into()];
        assert!(open(&wrong, dir.path()).unwrap_err().to_string().contains("`Car`"));
        assert!(
            open(&spec(dir.path(), None), &dir.path().join("x")).unwrap_err().to_string().contains("no such folder")
        );
    }
}
