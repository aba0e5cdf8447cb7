//! IDX, the format of MNIST and its kin: `NAME-images-idx3-ubyte` and `NAME-labels-idx1-ubyte`, as they are or `.gz`. Every
//! pair of files is a source: `train`, and `test` for `t10k`. Classes are concepts; a picture has exactly one.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use image::RgbImage;
use rayon::prelude::*;

use super::mask::Mask;
use super::pictures::picture_digest;
use super::sample::{Dataset, Presence, Sample, Skipped};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const LAYOUT: &str = "wanted train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, \
    t10k-labels-idx1-ubyte, or the same with .gz";
const IMAGES: &str = "-images-idx3-ubyte";
const LABELS: &str = "-labels-idx1-ubyte";
/// Most bytes of one file once it is unpacked: a million pictures of 32 x 32.
const MOST: u64 = 1 << 30;
/// A gzip member holds at most this many bytes for each of its own (deflate's limit is 1032).
const RATIO: u64 = 1032;

/// The dataset, in memory.
#[derive(Debug)]
pub struct Idx {
    concepts: Vec<String>,
    samples: Vec<Sample>,
    sources: Vec<Source>,
    /// Source and place in it, by sample.
    places: Vec<(usize, usize)>,
}

/// The pictures of one file.
#[derive(Debug)]
struct Source {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

/// Opens the pairs of files in a folder. The concepts of the table name the classes, in the order of their numbers; without
/// them they are called by their numbers. `count` takes so many pictures of every pair, evenly spread.
///
/// # Errors
/// When there is no pair, a file is not of this format, or a label has no name.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Idx> {
    let mut data =
        Idx { concepts: spec.concepts.clone(), samples: Vec::new(), sources: Vec::new(), places: Vec::new() };
    let mut all: Vec<(String, Source, Vec<u8>)> = Vec::new();
    for (stem, [images, labels]) in pairs(root)? {
        let (source, numbers) = (read_images(&images)?, read_labels(&labels)?);
        let count = source.pixels.len() / (source.height * source.width);
        if count != numbers.len() {
            let problem = format!("has {} labels for {count} pictures", numbers.len());
            return Err(Error::file(&labels, problem, "the two files are of different datasets, or one is cut off"));
        }
        all.push((if stem == "t10k" { "test".to_owned() } else { stem }, source, numbers));
    }
    let highest = all.iter().flat_map(|(_, _, numbers)| numbers).max().map_or(0, |n| usize::from(*n));
    if data.concepts.is_empty() {
        data.concepts = (0..=highest).map(|n| n.to_string()).collect();
    }
    if highest >= data.concepts.len() {
        let problem = format!("a picture is of class {highest}, and {} are named", data.concepts.len());
        let hint = "name all classes in the order of their numbers, or leave concepts out";
        return Err(Error::key("dataset.concepts", problem, hint));
    }
    for (name, source, numbers) in all {
        data.add(&name, source, &numbers, spec.count);
    }
    Ok(data)
}

impl Idx {
    fn add(&mut self, name: &str, source: Source, numbers: &[u8], count: Option<usize>) {
        let wanted = count.unwrap_or(numbers.len()).min(numbers.len());
        let chosen: Vec<usize> = (0..wanted).map(|i| i * numbers.len() / wanted).collect();
        let sample = |i: &usize| {
            let (class, name_of) = (usize::from(numbers[*i]), format!("{name}-{i:06}"));
            let image = source.image(*i);
            let presence = |c| if c == class { Presence::Present } else { Presence::Absent };
            Sample {
                id: picture_digest(source.width, source.height, image.as_raw()),
                name: name_of.clone(),
                group: name_of,
                time: None,
                source: name.to_owned(),
                presence: (0..self.concepts.len()).map(presence).collect(),
                coverage: vec![f32::NAN; self.concepts.len()],
                masks: None,
                labels: [self.concepts[class].clone()].into(),
            }
        };
        let samples: Vec<Sample> = chosen.par_iter().map(sample).collect();
        let number = self.sources.len();
        self.samples.extend(samples);
        self.places.extend(chosen.into_iter().map(|i| (number, i)));
        self.sources.push(source);
    }
}

impl Source {
    /// A picture, grey as it is.
    fn image(&self, i: usize) -> RgbImage {
        let pixels = &self.pixels[i * self.height * self.width..][..self.height * self.width];
        RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let value = pixels[y as usize * self.width + x as usize];
            image::Rgb([value; 3])
        })
    }
}

impl Dataset for Idx {
    fn concepts(&self) -> &[String] {
        &self.concepts
    }

    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn skipped(&self) -> &[Skipped] {
        &[]
    }

    fn image(&self, sample: usize) -> Result<RgbImage> {
        let place = self.places.get(sample);
        let (source, i) = place.ok_or_else(|| Error::Failure(format!("there is no sample {sample}")))?;
        Ok(self.sources[*source].image(*i))
    }

    fn mask(&self, _sample: usize, _concept: usize) -> Result<Option<Mask>> {
        Ok(None)
    }
}

/// Files of pictures with their labels, by what stands before `-images`.
fn pairs(root: &Path) -> Result<BTreeMap<String, [PathBuf; 2]>> {
    if !root.is_dir() {
        return Err(Error::file(root, "there is no such folder", LAYOUT));
    }
    let mut found: BTreeMap<String, [Option<PathBuf>; 2]> = BTreeMap::new();
    for entry in std::fs::read_dir(root).map_err(Error::io("read the folder", root))? {
        let path = entry.map_err(Error::io("read the folder", root))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        for (kind, end) in [IMAGES, LABELS].into_iter().enumerate() {
            if let Some(stem) = name.strip_suffix(end) {
                let place = &mut found.entry(stem.to_owned()).or_default()[kind];
                // Of a file and its packed form the one that needs no unpacking.
                if place.as_ref().is_none_or(|old| old.extension().is_some_and(|e| e == "gz")) {
                    *place = Some(path.clone());
                }
            }
        }
    }
    let pair = |(stem, files): (String, [Option<PathBuf>; 2])| match files {
        [Some(images), Some(labels)] => Ok((stem, [images, labels])),
        [Some(alone), None] | [None, Some(alone)] => {
            Err(Error::file(&alone, "has pictures or labels and not both beside it", LAYOUT))
        }
        [None, None] => Err(Error::file(root, "holds no IDX files", LAYOUT)),
    };
    let pairs: BTreeMap<_, _> = found.into_iter().map(pair).collect::<Result<_>>()?;
    if pairs.is_empty() { Err(Error::file(root, "holds no IDX files", LAYOUT)) } else { Ok(pairs) }
}

fn read_images(path: &Path) -> Result<Source> {
    let (sizes, pixels) = read(path, 3)?;
    let [_, height, width] = sizes[..] else { return Err(Error::Failure("three sizes were read".into())) };
    Ok(Source { height, width, pixels })
}

fn read_labels(path: &Path) -> Result<Vec<u8>> {
    Ok(read(path, 1)?.1)
}

/// Sizes and bytes of a file: two zeros, 8 for unsigned bytes, how many sizes, the sizes (32 bits, highest byte first), and
/// then exactly as many bytes as they say. What a size says is believed only as far as there are bytes.
fn read(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let refused = |problem: String| Error::file(path, problem, "wanted an IDX file of unsigned bytes, as MNIST's");
    let bytes = unpacked(path)?;
    let (head, rest) = bytes.split_at_checked(4 + 4 * rank).ok_or_else(|| refused("is cut off".into()))?;
    if head[..4] != [0, 0, 8, rank as u8] {
        return Err(refused(format!("starts with {:?}, wanted {:?}", &head[..4], [0, 0, 8, rank as u8])));
    }
    let sizes: Vec<usize> =
        head[4..].as_chunks::<4>().0.iter().map(|size| u32::from_be_bytes(*size) as usize).collect();
    let total = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    if total != Some(rest.len()) || total == Some(0) {
        return Err(refused(format!("says it holds {sizes:?} bytes, and {} follow", rest.len())));
    }
    Ok((sizes, rest.to_vec()))
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let most = MOST.min(bytes.len() as u64 * RATIO);
    let mut all = Vec::new();
    let read = MultiGzDecoder::new(bytes.as_slice()).take(most + 1).read_to_end(&mut all);
    let hint = "fetch it again";
    read.map_err(|e| Error::file(path, format!("cannot be unpacked: {e}"), hint))?;
    if all.len() as u64 > most {
        return Err(Error::file(path, format!("holds more than {most} bytes"), "unpack it, or use fewer pictures"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::Format;

    fn images() -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend(0..24);
        bytes
    }

    fn labels() -> Vec<u8> {
        vec![0, 0, 8, 1, 0, 0, 0, 4, 2, 0, 1, 2]
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
        dir
    }

    fn opened(files: &[(&str, Vec<u8>)], concepts: &[&str], count: Option<usize>) -> Result<Idx> {
        let concepts = concepts.iter().map(|c| (*c).to_owned()).collect();
        let spec = DatasetSpec { concepts, count, ..DatasetSpec::of(Format::Idx) };
        open(&spec, folder(files).path())
    }

    #[test]
    fn pairs_are_sources_and_classes_concepts() {
        let files = [
            ("train-images-idx3-ubyte.gz", packed(&images())),
            ("train-labels-idx1-ubyte", labels()),
            ("t10k-images-idx3-ubyte", images()),
            ("t10k-labels-idx1-ubyte.gz", packed(&labels())),
        ];
        let data = opened(&files, &["shirt", "shoe", "bag"], None).unwrap();
        assert_eq!(data.samples().len(), 8);
        let (first, sixth) = (&data.samples()[0], &data.samples()[5]);
        assert_eq!((first.source.as_str(), first.name.as_str()), ("test", "test-000000"));
        assert_eq!((sixth.source.as_str(), sixth.name.as_str()), ("train", "train-000001"));
        assert_eq!(first.labels, ["bag".to_owned()].into());
        assert_eq!(sixth.presence, [Presence::Present, Presence::Absent, Presence::Absent]);
        let picture = data.image(6).unwrap();
        assert_eq!((picture.dimensions(), picture.get_pixel(1, 1).0), ((3, 2), [16; 3]));
        assert!(data.mask(0, 0).unwrap().is_none() && data.image(8).is_err());
        assert_eq!(opened(&files, &[], Some(2)).unwrap().samples().len(), 4);
        assert_eq!(opened(&files, &[], None).unwrap().concepts(), ["0", "1", "2"]);
        let message = opened(&files, &["shirt", "shoe"], None).unwrap_err().to_string();
        assert!(message.contains("class 2"), "{message}");
    }

    #[test]
    fn what_is_no_idx_file_is_told() {
        let message = |images: Vec<u8>, labels: Vec<u8>| {
            let files = [("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)];
            opened(&files, &[], None).unwrap_err().to_string()
        };
        assert!(message(images()[..30].to_vec(), labels()).contains("14 follow"));
        assert!(message(labels(), labels()).contains("cut off"));
        assert!(message(images(), images()).contains("starts with"));
        assert!(
            message(images(), [&[0, 0, 8, 1, 0, 0, 0, 3][..], &[0; 3]].concat()).contains("3 labels for 4 pictures")
        );
        let huge = [&[0, 0, 8, 3][..], &[255; 12], &[7; 24]].concat();
        assert!(message(huge, labels()).contains("24 follow"));
        assert!(message(packed(&images())[..20].to_vec(), labels()).contains("unpacked"));
        let alone = opened(&[("train-images-idx3-ubyte", images())], &[], None).unwrap_err().to_string();
        assert!(alone.contains("not both"), "{alone}");
        assert!(opened(&[], &[], None).unwrap_err().to_string().contains("no IDX files"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), valid in 0usize..3, cut in 0usize..60) {
            // Wrong from the start, wrong behind a right head, or packed.
            if valid > 0 {
                let head = images();
                bytes = [&head[..8], &bytes].concat();
            }
            bytes.truncate(cut.max(1));
            if valid == 2 {
                bytes = packed(&bytes);
            }
            let _ = opened(&[("a-images-idx3-ubyte", bytes.clone()), ("a-labels-idx1-ubyte", bytes)], &[], None);
        }
    }
}
