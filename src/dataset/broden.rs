//! Broden (Bau et al. 2017): `index.csv`, `label.csv` and `images/SOURCE/…`, pictures of several datasets with labels in
//! categories. A category that is empty for a picture is not annotated, and that is not absence.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::annotated::{Annotated, Fact, Known, Layout};
use super::csv::Table;
use super::label_map::{LabelMap, blank};
use super::pictures::{Frame, names};
use super::sample::{Dataset, Presence};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const LAYOUT: &str = "wanted Broden's folder: index.csv, label.csv and images/SOURCE/…";
/// Columns of the index that are not categories.
const COLUMNS: [&str; 6] = ["image", "split", "ih", "iw", "sh", "sw"];
/// Labels of every pixel's colour: no context, and never studied by accident.
const COLOUR: &str = "color";
/// Parts are labelled where there are some: most of a picture has none.
const PART: &str = "part";
/// Share of a picture that must have labels before a label's absence counts.
const LABELLED: f32 = 0.5;

/// The index.
#[derive(Debug)]
pub struct Broden {
    categories: Vec<String>,
    /// Names of labels by their number.
    labels: BTreeMap<u32, String>,
    concepts: Vec<Concept>,
    rows: BTreeMap<PathBuf, Row>,
}

#[derive(Debug)]
struct Concept {
    number: u32,
    /// The categories it occurs in, the commonest first; an absence is by that one.
    categories: Vec<usize>,
}

/// What the index says of a picture: for each category its labels.
#[derive(Debug)]
struct Row {
    source: String,
    cells: Vec<Cell>,
}

/// Labels of one category, not annotated where there are none.
#[derive(Debug, Default)]
struct Cell {
    /// Labels of the whole picture.
    whole: Vec<u32>,
    /// Files with a label for every pixel, the dominant first.
    maps: Vec<PathBuf>,
}

/// Opens Broden in the study's root.
///
/// # Errors
/// When a table is not there or not of this form, no concept is named, a concept is no label, or too many pictures are
/// unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<Broden>> {
    let index = root.join("index.csv");
    let table = Table::read(&index, LAYOUT)?;
    let categories: Vec<String> = table.columns.iter().filter(|c| !COLUMNS.contains(&c.as_str())).cloned().collect();
    let (labels, concepts) = labels(&root.join("label.csv"), &categories, spec)?;
    let rows = rows(root, &index, &table)?;
    let paths: Vec<PathBuf> = rows.keys().cloned().collect();
    let frames = paths.iter().zip(names(&root.join("images"), &paths)).map(|(path, name)| {
        let source = rows[path].source.clone();
        Frame { path: path.clone(), group: name.clone(), name, time: None, source }
    });
    let data =
        Annotated::open(spec, spec.concepts.clone(), frames.collect(), Broden { categories, labels, concepts, rows })?;
    Ok(known_by_source(data))
}

/// A source that never shows a label may have no such label: there it is unknown.
fn known_by_source(data: Annotated<Broden>) -> Annotated<Broden> {
    let mut seen: HashSet<(String, usize)> = HashSet::new();
    for sample in data.samples() {
        let there = |c: &usize| sample.presence[*c] == Presence::Present || sample.coverage[*c] > 0.0;
        seen.extend((0..sample.presence.len()).filter(there).map(|c| (sample.source.clone(), c)));
    }
    data.doubted(|sample, concept| !seen.contains(&(sample.source.clone(), concept)))
}

/// Names of all labels, and the labels of the study's concepts.
fn labels(path: &Path, known: &[String], spec: &DatasetSpec) -> Result<(BTreeMap<u32, String>, Vec<Concept>)> {
    let table = Table::read(path, LAYOUT)?;
    let column = |name| table.column(name, path, LAYOUT);
    let (number, name, category) = (column("number")?, column("name")?, column("category")?);
    let (mut labels, mut by_name) = (BTreeMap::new(), BTreeMap::new());
    for row in &table.rows {
        let wrong = || Error::file(path, format!("`{}` is no number of a label", row[number]), LAYOUT);
        let number: u32 = row[number].trim().parse().map_err(|_| wrong())?;
        labels.insert(number, row[name].clone());
        by_name.entry(row[name].as_str()).or_insert((number, row[category].as_str()));
    }
    if spec.concepts.is_empty() {
        let problem = format!("label.csv has {} labels, too many to study at once", labels.len());
        return Err(Error::key("dataset.concepts", problem, "name some: concepts = [\"car\", \"head\", \"striped\"]"));
    }
    let concept = |wanted: &String| {
        let found = by_name.get(wanted.as_str());
        let (number, text) = found.ok_or_else(|| Error::unknown("label of Broden", wanted, by_name.keys().copied()))?;
        // As in `material(36);object(3)`.
        let names = text.split(';').map(|c| c.split('(').next().unwrap_or_default().trim());
        let categories: Vec<usize> = names.filter_map(|n| known.iter().position(|k| k == n)).collect();
        if categories.is_empty() {
            let problem = format!("`{wanted}` is of the category `{text}`, which is no column of index.csv");
            return Err(Error::file(path, problem, LAYOUT));
        }
        Ok(Concept { number: *number, categories })
    };
    let concepts = spec.concepts.iter().map(concept).collect::<Result<_>>()?;
    Ok((labels, concepts))
}

/// The index by the pictures' paths.
fn rows(root: &Path, index: &Path, table: &Table) -> Result<BTreeMap<PathBuf, Row>> {
    let images = root.join("images");
    let image = table.column("image", index, LAYOUT)?;
    let places: Vec<usize> =
        (0..table.columns.len()).filter(|c| !COLUMNS.contains(&table.columns[*c].as_str())).collect();
    let mut rows = BTreeMap::new();
    for row in &table.rows {
        let cells = places.iter().map(|c| cell(&row[*c], &images)).collect();
        let source = row[image].split('/').next().unwrap_or_default().to_owned();
        if rows.insert(images.join(&row[image]), Row { source, cells }).is_some() {
            return Err(Error::file(index, format!("{} is listed twice", row[image]), LAYOUT));
        }
    }
    Ok(rows)
}

/// `314;194` are labels of the whole picture, `a.png;b.png` files of labels.
fn cell(text: &str, images: &Path) -> Cell {
    let mut cell = Cell::default();
    for item in text.split(';').map(str::trim).filter(|i| !i.is_empty()) {
        match item.parse() {
            Ok(number) => cell.whole.push(number),
            Err(_) => cell.maps.push(images.join(item)),
        }
    }
    cell
}

/// The labels of a category, read.
#[derive(Debug, Default)]
struct Category {
    whole: Vec<u32>,
    maps: Vec<LabelMap>,
}

impl Category {
    /// Red plus 256 times green is the label.
    fn read(cell: &Cell) -> Result<Self, String> {
        let map = |path: &PathBuf| LabelMap::read(path, |[r, g, _]| u32::from(r) + 256 * u32::from(g));
        Ok(Self { whole: cell.whole.clone(), maps: cell.maps.iter().map(map).collect::<Result<_, _>>()? })
    }

    fn labels(&self) -> BTreeSet<u32> {
        self.whole.iter().copied().chain(self.maps.iter().flat_map(LabelMap::classes)).filter(|l| *l != 0).collect()
    }

    /// Whether a label that does not occur is known to be absent; and if so, by masks.
    fn absence(&self, category: &str) -> Fact {
        let labelled = |map: &LabelMap| category == PART || map.labelled() >= LABELLED;
        match self.maps.first() {
            Some(map) if labelled(map) => Fact::Nowhere,
            None if !self.whole.is_empty() => Fact::Absent,
            _ => Fact::Unknown,
        }
    }
}

impl Broden {
    fn fact(&self, concept: &Concept, read: &[Category], size: (u32, u32)) -> Fact {
        let mut mask = blank(size);
        for c in &concept.categories {
            read[*c].maps.iter().for_each(|map| map.paint(concept.number, &mut mask));
        }
        if mask.pixels.contains(&true) {
            return Fact::At(mask);
        }
        if concept.categories.iter().any(|c| read[*c].whole.contains(&concept.number)) {
            return Fact::Present;
        }
        concept.categories.first().map_or(Fact::Unknown, |c| read[*c].absence(&self.categories[*c]))
    }
}

impl Layout for Broden {
    fn kind(&self, concept: usize) -> Option<&str> {
        let commonest = self.concepts.get(concept)?.categories.first()?;
        self.categories.get(*commonest).map(String::as_str)
    }

    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String> {
        let row = self.rows.get(&frame.path).ok_or("it is not listed")?;
        let wanted = |c: usize| self.categories[c] != COLOUR || self.concepts.iter().any(|k| k.categories.contains(&c));
        let read = |(c, cell): (usize, &Cell)| if wanted(c) { Category::read(cell) } else { Ok(Category::default()) };
        let read: Vec<Category> = row.cells.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let facts = self.concepts.iter().map(|c| self.fact(c, &read, size)).collect();
        let context = read.iter().zip(&self.categories).filter(|(_, name)| *name != COLOUR);
        let numbers: BTreeSet<u32> = context.flat_map(|(category, _)| category.labels()).collect();
        Ok(Known { facts, context: numbers.iter().filter_map(|n| self.labels.get(n).cloned()).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::sample::Sample;
    use crate::dataset::{Format, Tile};
    use image::{Rgb, RgbImage};

    const YES: Presence = Presence::Present;
    const NO: Presence = Presence::Absent;
    const OPEN: Presence = Presence::Unknown;

    const LABELS: &str = "number,name,category,frequency,coverage,syns
1,red-c,color(9),9,1.0,
2,sky,object(5),5,1.0,
300,car,object(4),4,1.0,\"auto, automobile\"
4,head,part(2),2,1.0,
5,striped,texture(3),3,1.0,
6,banded,texture(2),2,1.0,
7,fabric,material(3);object(1),4,1.0,
8,street-s,scene(1),1,1.0,
";

    const INDEX: &str = "image,split,ih,iw,sh,sw,color,object,material,part,scene,texture
ade/a.png,train,8,8,4,4,ade/red.png,ade/car.png,,ade/head.png;ade/layer.png,8,
ade/b.png,val,8,8,4,4,ade/red.png,ade/sky.png,,,,
dtd/c.png,train,8,8,4,4,dtd/red.png,,,,,5;6
dtd/d.png,train,8,8,4,4,,,,,,6
os/e.png,train,8,8,4,4,,,os/fabric.png,,,
os/f.png,train,8,8,4,4,,,os/bare.png,,,
";

    /// A map of 4 x 4 labels: `label` in the upper `rows`, `rest` below.
    fn map(path: &Path, label: u32, rows: u32, rest: u32) {
        let colour = |l: u32| Rgb([(l % 256) as u8, (l / 256) as u8, 0]);
        RgbImage::from_fn(4, 4, |_, y| colour(if y < rows { label } else { rest })).save(path).unwrap();
    }

    fn tree() -> (tempfile::TempDir, DatasetSpec) {
        let dir = tempfile::tempdir().unwrap();
        let images = dir.path().join("images");
        for source in ["ade", "dtd", "os"] {
            std::fs::create_dir_all(images.join(source)).unwrap();
        }
        for (i, line) in INDEX.lines().skip(1).enumerate() {
            let image = RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8, y as u8, i as u8]));
            image.save(images.join(line.split(',').next().unwrap())).unwrap();
        }
        for (name, label, rows, rest) in [
            ("ade/red", 1, 4, 1),
            ("dtd/red", 1, 4, 1),
            ("ade/car", 300, 1, 2),
            ("ade/sky", 2, 4, 2),
            ("ade/head", 9, 1, 0),
            ("ade/layer", 4, 1, 0),
            ("os/fabric", 7, 1, 0),
            ("os/bare", 9, 1, 0),
        ] {
            map(&images.join(format!("{name}.png")), label, rows, rest);
        }
        std::fs::write(dir.path().join("label.csv"), LABELS).unwrap();
        std::fs::write(dir.path().join("index.csv"), INDEX).unwrap();
        let mut spec = DatasetSpec::of(Format::Broden);
        spec.root = Some(dir.path().to_path_buf());
        spec.concepts = ["car", "head", "striped", "fabric", "red-c"].map(str::to_owned).to_vec();
        (dir, spec)
    }

    #[test]
    fn what_is_not_annotated_is_unknown() {
        let (dir, spec) = tree();
        let data = open(&spec, dir.path()).unwrap();
        let names: Vec<&str> = data.samples().iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["ade-a", "ade-b", "dtd-c", "dtd-d", "os-e", "os-f"]);
        let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
        let wanted = [
            [YES, YES, OPEN, OPEN, YES],
            [NO, OPEN, OPEN, OPEN, YES],
            [OPEN, OPEN, YES, OPEN, YES],
            [OPEN, OPEN, NO, OPEN, OPEN],
            [OPEN, OPEN, OPEN, YES, OPEN],
            // A quarter is labelled: fabric may be in the rest.
            [OPEN, OPEN, OPEN, OPEN, OPEN],
        ];
        assert_eq!(presence, wanted);
        let a = &data.samples()[0];
        assert_eq!((a.source.as_str(), a.coverage[0], a.coverage[1]), ("ade", 0.25, 0.25));
        assert_eq!(a.labels.iter().collect::<Vec<_>>(), ["car", "head", "red-c", "sky", "street-s"]);
        assert_eq!(data.mask(0, 0).unwrap().unwrap().pixels[..16], [true; 16]);
        assert_eq!(data.mask(1, 0).unwrap().unwrap().coverage(), 0.0);
        assert!(data.mask(2, 2).unwrap().is_none() && data.mask(2, 0).unwrap().is_none());
    }

    #[test]
    fn a_source_that_never_shows_a_label_does_not_know_it() {
        let (dir, mut spec) = tree();
        spec.concepts = vec!["car".into()];
        std::fs::write(
            dir.path().join("index.csv"),
            INDEX.replace("os/e.png,train,8,8,4,4,,,", "os/e.png,train,8,8,4,4,,ade/sky.png,"),
        )
        .unwrap();
        let data = open(&spec, dir.path()).unwrap();
        let of = |name: &str| data.samples().iter().find(|s: &&Sample| s.name == name).unwrap().presence[0];
        assert_eq!([of("ade-b"), of("os-e")], [NO, OPEN]);
        let place = data.samples().iter().position(|s| s.name == "os-e").unwrap();
        assert!(data.mask(place, 0).unwrap().is_none());
    }

    #[test]
    fn tiles_know_what_is_in_them() {
        let (dir, mut spec) = tree();
        (spec.concepts, spec.tile) = (vec!["car".into(), "striped".into()], Some(Tile { size: 4, stride: None }));
        let data = open(&spec, dir.path()).unwrap();
        let of = |name: &str| {
            let found = data.samples().iter().filter(|s| s.name.starts_with(name));
            found.map(|s| s.presence.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of("ade-a"), [[YES, OPEN], [YES, OPEN], [NO, OPEN], [NO, OPEN]]);
        assert_eq!(of("dtd-c"), [[OPEN, OPEN]; 4].map(|p| p.to_vec()));
    }

    #[test]
    fn damaged_tables_and_maps_are_told() {
        let (dir, mut spec) = tree();
        let message = |spec: &DatasetSpec| open(spec, dir.path()).unwrap_err().to_string();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        spec.concepts = vec!["cat".into()];
        assert!(message(&spec).contains("`car`"));
        spec.concepts.clear();
        assert!(message(&spec).contains("8 labels, too many"));
        spec.concepts = vec!["car".into()];
        write("label.csv", LABELS.replace("300,car", "car,car"));
        assert!(message(&spec).contains("`car` is no number"));
        write("label.csv", LABELS.replace("object(4)", "thing(4)"));
        assert!(message(&spec).contains("no column of index.csv"));
        write("label.csv", LABELS.to_owned());
        write("index.csv", INDEX.replace(",8,\n", ",8\n"));
        assert!(message(&spec).contains("line 2 has 11 cells"));
        write("index.csv", INDEX.replace("ade/b.png", "ade/a.png"));
        assert!(message(&spec).contains("listed twice"));
        write("index.csv", INDEX.replace("ade/car.png", "../car.png"));
        let told = message(&spec);
        assert!(told.contains("1 of 6") && told.contains("its labels") && told.contains("car.png"), "{told}");
        std::fs::remove_file(dir.path().join("index.csv")).unwrap();
        assert!(message(&spec).contains("no such file"));
    }
}
