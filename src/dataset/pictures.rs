//! What all datasets of image files share: reading, tiling, hashing, and a list of what could not be used.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::decode::decode;
use super::mask::Mask;
use super::retouch::retouched;
use super::sample::{Dataset, Edit, Editing, Presence, Sample, Skipped};
use super::spec::DatasetSpec;
use super::tile::{Window, windows};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::store::digest::{Digest, DigestBuilder};

/// What to do about a file that changed behind our back: nothing was stored of the new one under the old one's name.
const AGAIN: &str = "the dataset changed while it was read: leave it alone, or restore the file, and run again";

/// Decoded files kept for the next tile of the same image.
const CACHED: usize = 8;

/// An image file and what is known of it as a whole.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The file.
    pub path: PathBuf,
    /// Readable name, unique in the dataset.
    pub name: String,
    /// Its group: see [`Sample::group`].
    pub group: String,
    /// Its time in the group, in seconds.
    pub time: Option<f64>,
    /// Its source: see [`Sample::source`].
    pub source: String,
}

/// A dataset whose samples are windows of picture files: only its concepts and masks are its own.
pub trait OfPictures: Send + Sync {
    /// The concepts, in the study's order.
    fn studied(&self) -> &[String];

    /// See [`Dataset::kind`].
    fn kind_of(&self, _concept: usize) -> Option<&str> {
        None
    }

    /// The samples.
    fn pictures(&self) -> &Pictures;

    /// See [`Dataset::mask`].
    ///
    /// # Errors
    /// When the file cannot be read any more.
    fn mask_of(&self, sample: usize, concept: usize) -> Result<Option<Mask>>;
}

impl<T: OfPictures> Dataset for T {
    fn concepts(&self) -> &[String] {
        self.studied()
    }

    fn kind(&self, concept: usize) -> Option<&str> {
        self.kind_of(concept)
    }

    fn samples(&self) -> &[Sample] {
        self.pictures().samples()
    }

    fn skipped(&self) -> &[Skipped] {
        self.pictures().skipped()
    }

    fn image(&self, sample: usize) -> Result<RgbImage> {
        self.pictures().image(sample)
    }

    fn mask(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        self.mask_of(sample, concept)?.map(|mask| self.pictures().same(sample, concept, mask)).transpose()
    }

    fn editing(&self) -> Editing {
        Editing::Retouched
    }

    fn edited(&self, sample: usize, concept: usize, edit: Edit) -> Result<Option<RgbImage>> {
        retouched(self, sample, concept, edit)
    }
}

/// What is known of one window of an image.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// For each concept.
    pub presence: Vec<Presence>,
    /// For each concept, share of the window; NaN without a mask.
    pub coverage: Vec<f32>,
    /// Digest of the window's masks.
    pub masks: Option<Digest>,
    /// Everything known to be in the window.
    pub labels: BTreeSet<String>,
}

/// The samples of a dataset of image files.
#[derive(Debug)]
pub struct Pictures {
    frames: Vec<Frame>,
    samples: Vec<Sample>,
    /// For each sample the frames and windows that show it; the picture is read from the first.
    places: Vec<Vec<(usize, Window)>>,
    skipped: Vec<Skipped>,
    cache: Cache<RgbImage>,
}

impl Pictures {
    /// Reads every frame once: hashes its windows' pixels and asks `label` what is in them (an error there skips the
    /// frame, with its text as the reason).
    ///
    /// # Errors
    /// When there is no frame, or more of them are unusable than the study allows.
    pub fn index(
        mut frames: Vec<Frame>,
        spec: &DatasetSpec,
        label: impl Fn(&Frame, (u32, u32), &[Window]) -> Result<Vec<Labels>, String> + Sync,
    ) -> Result<Self> {
        let root = spec.root.as_deref().unwrap_or(Path::new("."));
        if let Some(count) = spec.count.filter(|c| *c < frames.len() && *c > 0) {
            let all = frames.len();
            frames = (0..count).map(|i| frames[i * all / count].clone()).collect();
        }
        if frames.is_empty() {
            return Err(Error::file(root, "holds no images of this layout", "see README.md for the layouts"));
        }
        let read = frames.par_iter().map(|frame| {
            if interrupt::is_wished() {
                return Ok(Vec::new());
            }
            let image = decode(&frame.path)?.to_rgb8();
            let windows = windows(image.width() as usize, image.height() as usize, spec.tile);
            if windows.is_empty() {
                return Err(format!("{}x{} pixels are smaller than one tile", image.width(), image.height()));
            }
            let labels = label(frame, image.dimensions(), &windows)?;
            let ids: Vec<Digest> = windows.iter().map(|w| pixels_digest(&image, *w)).collect();
            Ok(windows.into_iter().zip(labels).zip(ids).collect::<Vec<_>>())
        });
        let read: Vec<Result<Vec<_>, String>> = read.collect();
        interrupt::check("the dataset was being read")?;
        let (mut samples, mut places, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (f, (frame, found)) in frames.iter().zip(read).enumerate() {
            match found {
                Err(reason) => skipped.push(Skipped { path: frame.path.clone(), reason }),
                Ok(found) => {
                    for ((window, labels), id) in found {
                        samples.push(sample(frame, spec.tile.is_some().then_some(window), labels, id));
                        places.push(vec![(f, window)]);
                    }
                }
            }
        }
        refuse_too_many(&skipped, frames.len(), spec)?;
        Ok(Self { frames, samples, places, skipped, cache: Cache::default() })
    }

    /// The index.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What was left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Makes one sample of those with the same pixels: the first by order stays, and knows what each of them knew.
    /// Where two contradict each other the concept is unknown.
    #[must_use]
    pub fn merged(mut self) -> Self {
        let mut first: HashMap<Digest, usize> = HashMap::new();
        let (mut samples, mut places): (Vec<Sample>, Vec<Vec<_>>) = (Vec::new(), Vec::new());
        for (sample, place) in std::mem::take(&mut self.samples).into_iter().zip(std::mem::take(&mut self.places)) {
            match first.entry(sample.id.clone()) {
                Entry::Vacant(slot) => {
                    slot.insert(samples.len());
                    samples.push(sample);
                    places.push(place);
                }
                Entry::Occupied(slot) => {
                    merge(&mut samples[*slot.get()], sample);
                    places[*slot.get()].extend(place);
                }
            }
        }
        Self { samples, places, ..self }
    }

    /// Takes back that a sample lacks a concept wherever `doubt(sample, concept)`: it is unknown there.
    #[must_use]
    pub fn doubted(mut self, doubt: impl Fn(&Sample, usize) -> bool) -> Self {
        for sample in &mut self.samples {
            for c in 0..sample.presence.len() {
                if sample.presence[c] == Presence::Absent && doubt(sample, c) {
                    (sample.presence[c], sample.coverage[c]) = (Presence::Unknown, f32::NAN);
                }
            }
        }
        self
    }

    /// The frame and window of a sample.
    pub fn place(&self, sample: usize) -> (&Frame, Window) {
        let (frame, window) = self.places[sample][0];
        (&self.frames[frame], window)
    }

    /// All frames and windows that show a sample: several after [`Pictures::merged`].
    pub fn places(&self, sample: usize) -> impl Iterator<Item = (&Frame, Window)> {
        self.places[sample].iter().map(|(frame, window)| (&self.frames[*frame], *window))
    }

    /// The picture of a sample: the very pixels that name it.
    ///
    /// # Errors
    /// When the file cannot be read any more, or holds other pixels than when the dataset was opened.
    pub fn image(&self, sample: usize) -> Result<RgbImage> {
        let (frame, w) = self.place(sample);
        let image = self.cache.get(&frame.path, |path| decode(path).map(|i| i.to_rgb8()))?;
        let (x, y, width, height) = (w.x as u32, w.y as u32, w.width as u32, w.height as u32);
        let image = image::imageops::crop_imm(&*image, x, y, width, height).to_image();
        let id = picture_digest(w.width, w.height, image.as_raw());
        if id == self.samples[sample].id { Ok(image) } else { Err(changed(&frame.path)) }
    }

    /// A mask of a concept in a sample, if it covers as much as when the dataset was opened.
    fn same(&self, sample: usize, concept: usize, mask: Mask) -> Result<Mask> {
        let Sample { presence, coverage, .. } = &self.samples[sample];
        // Where two copies of a picture contradict each other, neither is the one that was read first.
        if presence[concept] == Presence::Unknown || coverage[concept].is_nan() || mask.coverage() == coverage[concept]
        {
            return Ok(mask);
        }
        let (frame, _) = self.place(sample);
        Err(Error::file(&frame.path, "its masks are no longer those that were read first", AGAIN))
    }
}

fn changed(path: &Path) -> Error {
    Error::file(path, "holds other pixels than when it was read first", AGAIN)
}

fn sample(frame: &Frame, window: Option<Window>, labels: Labels, id: Digest) -> Sample {
    let name = match window {
        Some(w) => format!("{}@{},{}", frame.name, w.x, w.y),
        None => frame.name.clone(),
    };
    Sample {
        id,
        name,
        group: frame.group.clone(),
        time: frame.time,
        source: frame.source.clone(),
        presence: labels.presence,
        coverage: labels.coverage,
        masks: labels.masks,
        labels: labels.labels,
    }
}

/// Adds what another sample of the same pixels knows.
fn merge(kept: &mut Sample, other: Sample) {
    let known = kept.presence.iter_mut().zip(&mut kept.coverage).zip(other.presence.iter().zip(&other.coverage));
    for (c, ((presence, coverage), (theirs, share))) in known.enumerate() {
        *presence = match (*presence, *theirs) {
            (Presence::Unknown, one) | (one, Presence::Unknown) => one,
            (one, same) if one == same => one,
            _ => {
                let (a, b) = (&kept.name, &other.name);
                tracing::warn!("`{a}` and `{b}` have the same pixels, but differ on concept {c}: it is unknown there");
                Presence::Unknown
            }
        };
        if coverage.is_nan() {
            *coverage = *share;
        }
    }
    kept.masks = match (kept.masks.take(), other.masks) {
        (Some(a), Some(b)) => Some(DigestBuilder::new("masks v1").field("", a.as_str()).field("", b.as_str()).finish()),
        (a, b) => a.or(b),
    };
    kept.labels.extend(other.labels);
}

fn refuse_too_many(skipped: &[Skipped], frames: usize, spec: &DatasetSpec) -> Result<()> {
    for s in skipped {
        tracing::warn!("skipped {}: {}", s.path.display(), s.reason);
    }
    if skipped.len() as f64 <= f64::from(spec.max_skipped) * frames as f64 {
        return Ok(());
    }
    let first: Vec<String> = skipped.iter().take(3).map(|s| format!("{} ({})", s.path.display(), s.reason)).collect();
    let problem = format!("{} of {frames} images cannot be used: {}", skipped.len(), first.join("; "));
    let hint = "mend or remove them, or set dataset.max_skipped to the share that may be missing";
    Err(Error::data("the dataset", problem, hint))
}

/// Digest of a window's pixels: width, height and RGB bytes.
fn pixels_digest(image: &RgbImage, w: Window) -> Digest {
    let bytes: Vec<u8> = (w.y..w.y + w.height)
        .flat_map(|y| &image.as_raw()[(y * image.width() as usize + w.x) * 3..][..w.width * 3])
        .copied()
        .collect();
    picture_digest(w.width, w.height, &bytes)
}

/// Digest of a picture's pixels, the id of its sample in every dataset: width, height and RGB bytes row by row.
pub fn picture_digest(width: usize, height: usize, rgb: &[u8]) -> Digest {
    let size = [width as u64, height as u64].map(u64::to_le_bytes).concat();
    DigestBuilder::new("picture v1").field("size", size).field("rgb", rgb).finish()
}

/// Decodes a mask file to its grey values, `[height, width]`.
///
/// # Errors
/// A reason for people, without the file's name.
pub fn decode_mask(path: &Path) -> Result<GrayImage, String> {
    Ok(decode(path)?.to_luma8())
}

/// Decodes the mask of an image of the given size.
///
/// # Errors
/// A reason for people, with the mask's name: not readable, or of another size.
pub fn decode_mask_of(path: &Path, size: (u32, u32)) -> Result<GrayImage, String> {
    let mask = decode_mask(path).map_err(|e| format!("its mask {}: {e}", path.display()))?;
    let (w, h) = mask.dimensions();
    if (w, h) != size {
        return Err(format!("its mask {} has {w}x{h} pixels, the image {}x{}", path.display(), size.0, size.1));
    }
    Ok(mask)
}

/// What a share of covered pixels says of a concept.
pub fn presence(share: f32, present_from: f32) -> Presence {
    match share {
        0.0 => Presence::Absent,
        s if s >= present_from => Presence::Present,
        _ => Presence::Unknown,
    }
}

/// Digest of the masks of one window, each with its concept; `None` without a mask.
pub fn masks_digest<'a>(masks: impl IntoIterator<Item = (&'a str, &'a Mask)>) -> Option<Digest> {
    let mut masks = masks.into_iter().peekable();
    masks.peek()?;
    let add = |digest: DigestBuilder, (concept, mask): (&str, &Mask)| {
        digest.field(concept, mask.pixels.iter().map(|p| u8::from(*p)).collect::<Vec<_>>())
    };
    Some(masks.fold(DigestBuilder::new("masks v1"), add).finish())
}

/// Readable names of files, unique and without separators: the path below `root` without its extension.
pub fn names(root: &Path, paths: &[PathBuf]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let name = |path: &PathBuf| {
        let below = path.strip_prefix(root).unwrap_or(path).with_extension("");
        let parts: Vec<_> = below.iter().map(|p| p.to_string_lossy()).collect();
        let base = parts.join("-");
        let more = (2..).map(|i: usize| format!("{base}~{i}"));
        let found = std::iter::once(base.clone()).chain(more).find(|n| !taken.contains(n)).unwrap_or_default();
        taken.insert(found.clone());
        found
    };
    paths.iter().map(name).collect()
}

/// The masks of one window of an image of values: those where `shows(value)`; nothing where the window is not all in the
/// image, as when its file was replaced.
pub fn cut(mask: &GrayImage, w: Window, shows: impl Fn(u8) -> bool) -> Mask {
    if w.x + w.width > mask.width() as usize || w.y + w.height > mask.height() as usize {
        return Mask { width: w.width, height: w.height, pixels: vec![false; w.width * w.height] };
    }
    let row = |y: usize| &mask.as_raw()[y * mask.width() as usize + w.x..][..w.width];
    let pixels = (w.y..w.y + w.height).flat_map(row).map(|v| shows(*v)).collect();
    Mask { width: w.width, height: w.height, pixels }
}

/// Image files of a folder and the folders in it, sorted by path.
///
/// # Errors
/// When a folder cannot be read.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("read the folder", folder))? {
        let path = entry.map_err(Error::io("read the folder", folder))?.path();
        if path.is_dir() {
            files.extend(image_files(&path)?);
            continue;
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if ["png", "jpg", "jpeg"].contains(&extension.as_str()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a file without folder and extension.
pub fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// The last few decoded files: tiles of one image are asked for one after the other.
#[derive(Debug)]
pub struct Cache<T>(Mutex<VecDeque<(PathBuf, Arc<T>)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }
}

impl<T> Cache<T> {
    /// The decoded file.
    ///
    /// # Errors
    /// When `read` fails; the reason becomes a message with the file's name.
    pub fn get(&self, path: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<Arc<T>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = lock().iter().find(|(p, _)| p == path) {
            return Ok(found.clone());
        }
        let made = Arc::new(read(path).map_err(|reason| Error::file(path, reason, AGAIN))?);
        let mut kept = lock();
        kept.push_back((path.to_path_buf(), made.clone()));
        if kept.len() > CACHED {
            kept.pop_front();
        }
        Ok(made)
    }
}
