//! Activations made elsewhere: `.npz` or `.safetensors` with the arrays `activations` `[n, c, h, w]` or `[n, c]` (or
//! several, called `activations/LAYER`), `labels` `[n, concepts]` (1 present, 0 absent, -1 unknown), and where there
//! are any `masks` `[n, concepts, height, width]`, `groups` `[n]` and `split` `[n]` (0 fit, 1 validation, 2 test, 3 left
//! out).

pub(crate) mod arrays;

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::mask::Mask;
use super::pictures::masks_digest;
use super::sample::{Dataset, Presence, Sample, Skipped};
use super::spec::DatasetSpec;
use super::split::{Part, Split};
use crate::error::{Error, Result};
use crate::store::arrays::ABOUT;
use crate::store::digest::{Digest, DigestBuilder};
use arrays::{Array, Arrays, Values};

const ACTIVATIONS: &str = "activations";
/// Arrays that are read beside activations, and the text in which `cavern export` says what its arrays are.
const KNOWN: [&str; 5] = ["labels", "masks", "groups", "split", ABOUT];
const LAYOUT: &str = "wanted `activations` [n, c, h, w] or [n, c] (or several `activations/LAYER`), `labels` \
                      [n, concepts] with 1, 0 or -1, and if any `masks` [n, concepts, height, width], `groups` [n] and \
                      `split` [n] with 0 (fit), 1 (validation), 2 (test) or 3 (left out)";

/// The dataset, with all its activations in memory.
#[derive(Debug)]
pub struct Imported {
    path: PathBuf,
    concepts: Vec<String>,
    layers: Vec<Layer>,
    masks: Option<Masks>,
    /// For each sample its row in the file.
    rows: Vec<usize>,
    samples: Vec<Sample>,
    split: Option<Split>,
}

#[derive(Debug)]
struct Layer {
    name: String,
    /// Channel, height, width.
    shape: [usize; 3],
    values: Vec<f32>,
}

#[derive(Debug)]
struct Masks {
    width: usize,
    height: usize,
    /// One byte a pixel; not zero: set.
    values: Vec<u8>,
}

impl Layer {
    fn row(&self, row: usize) -> &[f32] {
        let size: usize = self.shape.iter().product();
        &self.values[row * size..(row + 1) * size]
    }
}

impl Masks {
    /// The mask of a concept; `None` where no pixel is set.
    fn get(&self, row: usize, concept: usize, concepts: usize) -> Option<Mask> {
        let size = self.width * self.height;
        let bytes = &self.values[(row * concepts + concept) * size..][..size];
        let pixels: Vec<bool> = bytes.iter().map(|b| *b > 0).collect();
        pixels.contains(&true).then_some(Mask { width: self.width, height: self.height, pixels })
    }
}

/// Opens the file of activations that is the study's root.
///
/// # Errors
/// When it is not whole, an array has a wrong shape or value, or the concepts' number is not that of the labels.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Imported> {
    let concepts = spec.concepts.clone();
    if concepts.is_empty() {
        let hint = "name the columns of `labels`, as in concepts = [\"stripes\", \"dots\"]";
        return Err(Error::key("dataset.concepts", "imported activations do not name their concepts", hint));
    }
    let mut file = Arrays::open(root)?;
    let names = file.names(root)?;
    let presence = labels(&mut file, root, &names, &concepts)?;
    let n = presence.len();
    let layers = layers(&mut file, root, &names, n)?;
    let masks = masks(&mut file, root, &names, [n, concepts.len()])?;
    let groups = groups(&mut file, root, &names, n)?;
    let parts = parts(&mut file, root, &names, n)?;
    let rows: Vec<usize> = match spec.count {
        Some(count) if count < n => (0..count).map(|i| i * n / count).collect(),
        _ => (0..n).collect(),
    };
    let make = |row: &usize| {
        let group = groups.as_ref().map(|g| g[*row]);
        sample(*row, &layers, presence[*row].clone(), masks.as_ref(), &concepts, group)
    };
    let samples = rows.iter().map(make).collect::<Result<Vec<_>>>()?;
    let split = parts.map(|parts| given_split(root, &rows, &parts, groups.as_deref())).transpose()?;
    Ok(Imported { path: root.to_path_buf(), concepts, layers, masks, rows, samples, split })
}

fn name_of(row: usize) -> String {
    format!("sample-{row:06}")
}

/// What is known of every sample.
fn labels(file: &mut Arrays, path: &Path, names: &[String], concepts: &[String]) -> Result<Vec<Vec<Presence>>> {
    if !names.iter().any(|n| n == "labels") {
        return Err(Error::file(path, "there is no array `labels`", LAYOUT));
    }
    let Array { shape, values } = file.read(path, "labels")?;
    let [n, columns] = shape[..] else { return Err(wrong_shape(path, "labels", &shape, "[n, concepts]")) };
    if n == 0 {
        return Err(Error::file(path, "`labels` has no rows", LAYOUT));
    }
    if columns != concepts.len() {
        let problem = format!("{} concepts are named, {} has labels of {columns}", concepts.len(), path.display());
        return Err(Error::key("dataset.concepts", problem, "name every column of `labels`, in order"));
    }
    let value = |(i, value): (usize, f64)| match value {
        1.0 => Ok(Presence::Present),
        0.0 => Ok(Presence::Absent),
        -1.0 => Ok(Presence::Unknown),
        other => {
            let (row, concept) = (name_of(i / columns), &concepts[i % columns]);
            let hint = "labels are 1 (present), 0 (absent) or -1 (unknown)";
            Err(Error::file(path, format!("the label of `{concept}` in {row} is {other}"), hint))
        }
    };
    let values = values.into_doubles().into_iter().enumerate().map(value).collect::<Result<Vec<_>>>()?;
    Ok(values.chunks(columns).map(<[_]>::to_vec).collect())
}

fn wrong_shape(path: &Path, name: &str, shape: &[usize], wanted: &str) -> Error {
    Error::file(path, format!("`{name}` has the shape {shape:?}, not {wanted}"), LAYOUT)
}

fn layers(file: &mut Arrays, path: &Path, names: &[String], n: usize) -> Result<Vec<Layer>> {
    let layer = |array: &&String| {
        array.as_str() == ACTIVATIONS || array.strip_prefix("activations/").is_some_and(|l| !l.is_empty())
    };
    let found: Vec<&String> = names.iter().filter(layer).collect();
    if found.is_empty() {
        return Err(Error::file(path, "there is no array `activations`", LAYOUT));
    }
    if found.len() > 1 && found.iter().any(|a| *a == ACTIVATIONS) {
        let problem = "there are both `activations` and `activations/LAYER`";
        return Err(Error::file(path, problem, "call the first `activations/` and its layer's name, too"));
    }
    let passed_over = |name: &&String| !found.contains(name) && !KNOWN.contains(&name.as_str());
    for name in names.iter().filter(passed_over) {
        tracing::warn!("{}: array `{name}` is not used", path.display());
    }
    found.into_iter().map(|array| read_layer(file, path, array, n)).collect()
}

fn read_layer(file: &mut Arrays, path: &Path, array: &str, n: usize) -> Result<Layer> {
    let name = array.strip_prefix("activations/").unwrap_or(array).to_owned();
    let Array { shape, values } = file.read(path, array)?;
    let [c, h, w] = match shape[..] {
        [rows, c] if rows == n => [c, 1, 1],
        [rows, c, h, w] if rows == n => [c, h, w],
        _ => return Err(wrong_shape(path, array, &shape, &format!("[{n}, c, h, w] or [{n}, c] as its labels tell"))),
    };
    if [c, h, w].contains(&0) {
        return Err(wrong_shape(path, array, &shape, "of positive sizes"));
    }
    if !matches!(values, Values::Singles(_) | Values::Doubles(_)) {
        return Err(Error::file(path, format!("`{array}` holds integers"), "save activations as float32 or float64"));
    }
    let values = values.into_singles();
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        let row = name_of(at / (c * h * w));
        let problem = format!("layer `{name}` has the value {} in {row}", values[at]);
        let hint = "activations must be finite as float32: mend the network's run, or leave the sample out";
        return Err(Error::data(path.display().to_string(), problem, hint));
    }
    Ok(Layer { name, shape: [c, h, w], values })
}

fn masks(file: &mut Arrays, path: &Path, names: &[String], rows: [usize; 2]) -> Result<Option<Masks>> {
    if !names.iter().any(|n| n == "masks") {
        return Ok(None);
    }
    let Array { shape, values } = file.read(path, "masks")?;
    let [n, concepts, height, width] = shape[..] else {
        return Err(wrong_shape(path, "masks", &shape, "[n, concepts, height, width]"));
    };
    if [n, concepts] != rows || [height, width].contains(&0) {
        let wanted = format!("[{}, {}, height, width] as its labels tell", rows[0], rows[1]);
        return Err(wrong_shape(path, "masks", &shape, &wanted));
    }
    let Values::Bytes(values) = values else {
        return Err(Error::file(path, "`masks` holds numbers that are no flags", "save them as bool or uint8"));
    };
    Ok(Some(Masks { width, height, values }))
}

fn groups(file: &mut Arrays, path: &Path, names: &[String], n: usize) -> Result<Option<Vec<i64>>> {
    integers(file, path, names, ("groups", n))
}

/// The part of every sample, where the file says so.
fn parts(file: &mut Arrays, path: &Path, names: &[String], n: usize) -> Result<Option<Vec<Part>>> {
    let Some(codes) = integers(file, path, names, ("split", n))? else { return Ok(None) };
    let part = |(row, code): (usize, i64)| match code {
        0 => Ok(Part::Fit),
        1 => Ok(Part::Val),
        2 => Ok(Part::Test),
        3 => Ok(Part::Out),
        _ => Err(Error::file(path, format!("the split of {} is {code}", name_of(row)), LAYOUT)),
    };
    codes.into_iter().enumerate().map(part).collect::<Result<Vec<_>>>().map(Some)
}

/// The file's own split of the rows in use: blocks are its groups, in the order of their numbers.
fn given_split(path: &Path, rows: &[usize], parts: &[Part], groups: Option<&[i64]>) -> Result<Split> {
    let part: Vec<Part> = rows.iter().map(|row| parts[*row]).collect();
    if let Some(lacking) = [Part::Fit, Part::Val, Part::Test].into_iter().find(|p| !part.contains(p)) {
        let hint = "give every part some samples, or leave the array `split` out: then parts are dealt";
        return Err(Error::file(path, format!("`split` has no sample of the part `{}`", lacking.name()), hint));
    }
    let group = |row: &usize| groups.map_or(*row as i64, |g| g[*row]);
    let mut known: Vec<i64> = rows.iter().map(group).collect();
    known.sort_unstable();
    known.dedup();
    let block = rows.iter().map(|row| known.binary_search(&group(row)).unwrap_or(0)).collect();
    Ok(Split { part, block })
}

/// A whole number for every sample.
fn integers(file: &mut Arrays, path: &Path, names: &[String], (name, n): (&str, usize)) -> Result<Option<Vec<i64>>> {
    if !names.iter().any(|n| n == name) {
        return Ok(None);
    }
    let Array { shape, values } = file.read(path, name)?;
    if shape != [n] {
        return Err(wrong_shape(path, name, &shape, &format!("[{n}] as its labels tell")));
    }
    match values {
        Values::Integers(values) => Ok(Some(values)),
        Values::Bytes(values) => Ok(Some(values.into_iter().map(i64::from).collect())),
        _ => Err(Error::file(path, format!("`{name}` holds numbers with fractions"), "save them as integers")),
    }
}

fn sample(
    row: usize,
    layers: &[Layer],
    presence: Vec<Presence>,
    masks: Option<&Masks>,
    concepts: &[String],
    group: Option<i64>,
) -> Result<Sample> {
    let name = name_of(row);
    let masks: Vec<Option<Mask>> =
        (0..concepts.len()).map(|c| masks.and_then(|m| m.get(row, c, concepts.len()))).collect();
    let of = |c: usize| (presence[c], masks[c].as_ref());
    if let Some(c) = (0..concepts.len()).find(|c| matches!(of(*c), (Presence::Absent, Some(_)))) {
        let problem = format!("`{}` is labelled absent, but its mask is not empty", concepts[c]);
        return Err(Error::data(name, problem, "mend the label, or the mask"));
    }
    let coverage = |c: usize| match of(c) {
        (_, Some(mask)) => mask.coverage(),
        _ => f32::NAN,
    };
    let named = concepts.iter().zip(&masks).filter_map(|(c, m)| Some((c.as_str(), m.as_ref()?)));
    let present = (0..concepts.len()).filter(|c| presence[*c] == Presence::Present);
    Ok(Sample {
        id: digest(row, layers),
        group: group.map_or_else(|| name.clone(), |g| g.to_string()),
        name,
        time: None,
        source: "imported".into(),
        coverage: (0..concepts.len()).map(coverage).collect(),
        masks: masks_digest(named),
        labels: present.map(|c| concepts[c].clone()).collect(),
        presence,
    })
}

/// Digest of a sample's activations at all layers.
fn digest(row: usize, layers: &[Layer]) -> Digest {
    let add = |digest: DigestBuilder, layer: &Layer| {
        let shape = layer.shape.map(|s| (s as u64).to_le_bytes()).concat();
        let bytes: Vec<u8> = layer.row(row).iter().flat_map(|v| v.to_le_bytes()).collect();
        digest.field("layer", &layer.name).field("shape", shape).field("values", bytes)
    };
    layers.iter().fold(DigestBuilder::new("activations v1"), add).finish()
}

impl Dataset for Imported {
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
        let problem = format!("holds activations; there is no picture of {}", self.samples[sample].name);
        Err(Error::file(&self.path, problem, "use a format with pictures where the study asks for them"))
    }

    fn split(&self) -> Option<&Split> {
        self.split.as_ref()
    }

    /// An empty mask of a sample with the concept says that it has not been drawn.
    fn mask(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        Ok(self.masks.as_ref().and_then(|m| m.get(self.rows[sample], concept, self.concepts.len())))
    }

    fn imported_layers(&self) -> Vec<(String, [usize; 3])> {
        self.layers.iter().map(|l| (l.name.clone(), l.shape)).collect()
    }

    fn imported(&self, layer: usize, sample: usize) -> Result<Vec<f32>> {
        let layers = self.layers.len();
        let found = self.layers.get(layer);
        let found = found.ok_or_else(|| Error::Failure(format!("there are {layers} imported layers, no {layer}")))?;
        Ok(found.row(self.rows[sample]).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Seek, Write};

    use ndarray::{Array1, Array2, Array4, ArrayD, IxDyn};
    use ndarray_npy::NpzWriter;

    use super::*;
    use crate::dataset::Format;

    fn spec(path: &Path, concepts: &[&str]) -> DatasetSpec {
        let mut spec = DatasetSpec::of(Format::Imported);
        spec.root = Some(path.to_path_buf());
        spec.concepts = concepts.iter().map(|c| (*c).to_owned()).collect();
        spec
    }

    fn message(path: &Path, concepts: &[&str]) -> String {
        open(&spec(path, concepts), path).unwrap_err().to_string()
    }

    type Writer = NpzWriter<Cursor<Vec<u8>>>;

    /// A file of arrays that `write` adds.
    fn npz(write: impl FnOnce(&mut Writer)) -> (tempfile::TempDir, PathBuf) {
        let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
        write(&mut writer);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npz");
        std::fs::write(&path, writer.finish().unwrap().into_inner()).unwrap();
        (dir, path)
    }

    fn add<W: Write + Seek>(writer: &mut NpzWriter<W>, name: &str, shape: &[usize], value: impl Fn(usize) -> f32) {
        let values = (0..shape.iter().product()).map(value).collect();
        writer.add_array(name, &ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()).unwrap();
    }

    #[test]
    fn a_file_of_numpy_reads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/imported.npz");
        let data = open(&spec(&path, &["stripes", "dots"]), &path).unwrap();
        assert_eq!(data.imported_layers(), [("early".into(), [2, 2, 3]), ("late".into(), [4, 1, 1])]);
        assert_eq!(data.imported(0, 1).unwrap(), (12..24).map(|i| i as f32 / 2.0).collect::<Vec<_>>());
        // In Fortran's order, double precision.
        assert_eq!(data.imported(1, 2).unwrap(), [8.0, 9.0, 10.0, 11.0]);
        let presence: Vec<_> = data.samples().iter().map(|s| s.presence.clone()).collect();
        let (yes, no, open) = (Presence::Present, Presence::Absent, Presence::Unknown);
        assert_eq!(presence, [[yes, no], [open, yes], [no, no]]);
        assert_eq!(data.samples().iter().map(|s| s.group.as_str()).collect::<Vec<_>>(), ["7", "7", "-9"]);
        assert_eq!((data.samples()[2].name.as_str(), data.samples()[0].coverage[0]), ("sample-000002", 0.25));
        assert_eq!(data.mask(0, 0).unwrap().unwrap().pixels[..3], [true, true, false]);
        assert!(data.mask(1, 1).unwrap().is_none() && data.samples()[1].coverage[1].is_nan());
        assert!(data.image(0).unwrap_err().to_string().contains("no picture of sample-000000"));
        assert!(data.imported(2, 0).is_err());
    }

    #[test]
    fn a_file_of_tensors_reads_alike() {
        let (_keep, first) = npz(|w| {
            add(w, "activations", &[3, 2], |i| i as f32);
            w.add_array("labels", &Array2::from_shape_vec((3, 1), vec![1i64, 0, -1]).unwrap()).unwrap();
        });
        let values: Vec<u8> = (0..6).flat_map(|i| f64::from(i).to_le_bytes()).collect();
        let view =
            |kind, shape: &[usize], bytes| safetensors::tensor::TensorView::new(kind, shape.to_vec(), bytes).unwrap();
        let tensors = [
            ("activations", view(safetensors::Dtype::F64, &[3, 2], &values)),
            ("labels", view(safetensors::Dtype::I8, &[3, 1], &[1, 0, 255])),
        ];
        let second = first.with_extension("safetensors");
        std::fs::write(&second, safetensors::serialize(tensors, None).unwrap()).unwrap();
        let (a, b) = (open(&spec(&first, &["x"]), &first).unwrap(), open(&spec(&second, &["x"]), &second).unwrap());
        assert_eq!(
            a.samples().iter().map(|s| &s.id).collect::<Vec<_>>(),
            b.samples().iter().map(|s| &s.id).collect::<Vec<_>>()
        );
        assert_eq!(b.samples()[2].presence, [Presence::Unknown]);
        assert_eq!(b.samples()[2].group, "sample-000002");
        let mut few = spec(&second, &["x"]);
        few.count = Some(2);
        let few = open(&few, &second).unwrap();
        assert_eq!((few.samples()[1].name.as_str(), few.imported(0, 1).unwrap()), ("sample-000001", vec![2.0, 3.0]));
        let bytes = std::fs::read(&second).unwrap();
        std::fs::write(&second, &bytes[..bytes.len() - 3]).unwrap();
        assert!(message(&second, &["x"]).contains("not a whole safetensors"));
    }

    #[test]
    fn wrong_shapes_and_values_are_told() {
        let labels = |rows: usize| Array2::from_elem((rows, 1), 1i32);
        let case = |shape: &[usize], rows: usize, value: f32, more: &dyn Fn(&mut Writer)| {
            let (_keep, path) = npz(|w| {
                add(w, "activations/deep", shape, |i| if i == 5 { value } else { 0.0 });
                w.add_array("labels", &labels(rows)).unwrap();
                more(w);
            });
            message(&path, &["x"])
        };
        let none: &dyn Fn(&mut Writer) = &|_| ();
        assert!(case(&[3, 2, 2], 3, 0.0, none).contains("`activations/deep` has the shape [3, 2, 2]"));
        assert!(case(&[3, 2], 4, 0.0, none).contains("[4, c, h, w]"));
        let nan = case(&[3, 2], 3, f32::NAN, none);
        assert!(nan.contains("layer `deep` has the value NaN in sample-000002"), "{nan}");
        assert!(case(&[3, 2], 3, f32::INFINITY, none).contains("value inf"));
        let masks =
            |shape, value: u8| move |w: &mut Writer| w.add_array("masks", &Array4::from_elem(shape, value)).unwrap();
        assert!(case(&[3, 2], 3, 0.0, &masks((3, 2, 4, 4), 1)).contains("[3, 1, height, width]"));
        let floats = |w: &mut Writer| w.add_array("masks", &Array4::from_elem((3, 1, 4, 4), 1.0f32)).unwrap();
        assert!(case(&[3, 2], 3, 0.0, &floats).contains("bool or uint8"));
        let groups = |w: &mut Writer| w.add_array("groups", &Array1::from_elem(2, 1i64)).unwrap();
        assert!(case(&[3, 2], 3, 0.0, &groups).contains("`groups` has the shape [2]"));
        let both = |w: &mut Writer| add(w, "activations", &[3, 2], |_| 0.0);
        assert!(case(&[3, 2], 3, 0.0, &both).contains("both `activations`"));
    }

    #[test]
    fn a_file_may_bring_its_split() {
        let file = |codes: Vec<i32>, groups: Vec<i64>| {
            npz(|w| {
                add(w, "activations", &[4, 2], |i| i as f32);
                w.add_array("labels", &Array2::from_elem((4, 1), 1i32)).unwrap();
                w.add_array("split", &Array1::from(codes)).unwrap();
                w.add_array("groups", &Array1::from(groups)).unwrap();
            })
        };
        let (_keep, path) = file(vec![2, 0, 1, 3], vec![10, 9, 10, -1]);
        let data = open(&spec(&path, &["x"]), &path).unwrap();
        let split = data.split().unwrap();
        assert_eq!(split.part, [Part::Test, Part::Fit, Part::Val, Part::Out]);
        assert_eq!(split.block, [2, 1, 2, 0], "by number, not by name");
        for (codes, part) in
            [(vec![2, 0, 1, 4], "sample-000003 is 4"), (vec![2, 0, 0, 3], "no sample of the part `val`")]
        {
            let (_keep, path) = file(codes, vec![0; 4]);
            assert!(message(&path, &["x"]).contains(part), "{part}");
        }
    }

    #[test]
    fn wrong_labels_are_told() {
        let case = |value: f32, concepts: &[&str], masks: bool| {
            let (_keep, path) = npz(|w| {
                add(w, "activations", &[2, 2], |i| i as f32);
                add(w, "labels", &[2, 2], |i| if i == 3 { value } else { 1.0 });
                if masks {
                    w.add_array("masks", &Array4::from_elem((2, 2, 2, 2), true)).unwrap();
                }
            });
            message(&path, concepts)
        };
        assert!(case(2.0, &["x", "y"], false).contains("the label of `y` in sample-000001 is 2"));
        assert!(case(1.0, &["x"], false).contains("1 concepts are named"));
        assert!(case(1.0, &[], false).contains("dataset.concepts"));
        assert!(case(0.0, &["x", "y"], true).contains("labelled absent"));
    }

    #[test]
    fn wrong_files_are_told() {
        let (dir, path) = npz(|w| add(w, "activations", &[2, 2], |i| i as f32));
        assert!(message(&path, &["x"]).contains("no array `labels`"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(message(&path, &["x"]).contains("not a whole npz"));
        assert!(message(&dir.path().join("b.npz"), &["x"]).contains("no such file"));
        std::fs::write(dir.path().join("b.pt"), "x").unwrap();
        assert!(message(&dir.path().join("b.pt"), &["x"]).contains("unknown kind"));
    }
}
