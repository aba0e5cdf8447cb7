//! COCO 2017: `annotations/instances_{train,val}2017.json` and the pictures in `{train,val}2017/` or
//! `images/{train,val}2017/`. Every category is annotated in every picture: what is not listed is absent.

mod json;
mod shape;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use self::json::Annotation;
use self::shape::Shape;
use super::annotated::{Annotated, Fact, Known, Layout};
use super::mask::Mask;
use super::pictures::{Frame, names};
use super::spec::DatasetSpec;
use crate::error::{Error, Result};

const LAYOUT: &str = "wanted annotations/instances_val2017.json with the pictures in val2017/ or images/val2017/, and the \
    same for train2017";

/// The annotations.
#[derive(Debug)]
pub struct Coco {
    /// Names of the categories; `u16` stands for one of them below.
    categories: Vec<String>,
    /// The category of each concept.
    concepts: Vec<u16>,
    pictures: BTreeMap<PathBuf, Annotations>,
}

/// What is annotated in a picture.
#[derive(Debug, Default)]
struct Annotations {
    size: (u32, u32),
    /// `train` or `val`.
    source: &'static str,
    categories: BTreeSet<u16>,
    /// Regions of the categories that are studied.
    objects: Vec<Object>,
}

#[derive(Debug)]
struct Object {
    category: u16,
    /// A region around many that were not told apart.
    crowd: bool,
    shape: Shape,
}

/// Opens COCO in the study's root. A split whose pictures are not there is passed over.
///
/// # Errors
/// When no split is there, a file is not of this form, a concept is no category, or too many pictures are unusable.
pub fn open(spec: &DatasetSpec, root: &Path) -> Result<Annotated<Coco>> {
    let mut coco = Coco { categories: Vec::new(), concepts: Vec::new(), pictures: BTreeMap::new() };
    for source in ["train", "val"] {
        let json = root.join(format!("annotations/instances_{source}2017.json"));
        let folders = [root.join(format!("{source}2017")), root.join(format!("images/{source}2017"))];
        if let Some(folder) = folders.iter().find(|f| f.is_dir() && json.is_file()) {
            coco.read(&json, folder, source, spec)?;
        }
    }
    if coco.pictures.is_empty() {
        return Err(Error::file(root, "there is no split of COCO 2017", LAYOUT));
    }
    let concepts = coco.concepts.iter().map(|c| coco.categories[usize::from(*c)].clone()).collect();
    let paths: Vec<PathBuf> = coco.pictures.keys().cloned().collect();
    let frames = paths.iter().zip(names(root, &paths)).map(|(path, name)| {
        let source = coco.pictures[path].source.to_owned();
        Frame { path: path.clone(), group: name.clone(), name, time: None, source }
    });
    Annotated::open(spec, concepts, frames.collect(), coco)
}

impl Coco {
    /// Adds a split: once through the file for categories and pictures, once for annotations.
    fn read(&mut self, json: &Path, folder: &Path, source: &'static str, spec: &DatasetSpec) -> Result<()> {
        let head = json::head(json)?;
        let wrong = |problem: String| Error::file(json, problem, "restore the file as it was published");
        let listed: BTreeMap<u64, String> = head.categories.into_iter().map(|c| (c.id, c.name)).collect();
        let names: Vec<String> = listed.values().cloned().collect();
        if self.categories.is_empty() {
            self.categories = names;
            self.concepts = concepts(&self.categories, spec)?;
        } else if self.categories != names {
            return Err(wrong("its categories are not those of the other split".into()));
        }
        let numbers: HashMap<u64, u16> = listed.keys().zip(0..).map(|(id, number)| (*id, number)).collect();
        let mut paths: HashMap<u64, PathBuf> = HashMap::new();
        for image in head.images {
            let path = folder.join(&image.file_name);
            let annotations = Annotations { size: (image.width, image.height), source, ..Annotations::default() };
            match self.pictures.entry(path.clone()) {
                Entry::Vacant(slot) => slot.insert(annotations),
                Entry::Occupied(_) => return Err(wrong(format!("{} is listed twice", image.file_name))),
            };
            if paths.insert(image.id, path).is_some() {
                return Err(wrong(format!("two pictures have the id {}", image.id)));
            }
        }
        json::annotations(json, |annotation| {
            let of = |what, id| format!("an annotation is of the {what} {id}, which is not listed");
            let path = paths.get(&annotation.image_id).ok_or_else(|| of("picture", annotation.image_id))?;
            let category = numbers.get(&annotation.category_id);
            let category = *category.ok_or_else(|| of("category", annotation.category_id))?;
            self.add(path, category, annotation);
            Ok(())
        })
    }

    fn add(&mut self, path: &Path, category: u16, annotation: Annotation) {
        let Some(picture) = self.pictures.get_mut(path) else { return };
        picture.categories.insert(category);
        if self.concepts.contains(&category) {
            let (crowd, shape) = (annotation.iscrowd != 0, annotation.segmentation);
            picture.objects.push(Object { category, crowd, shape });
        }
    }
}

/// The categories to study: those named, or all.
fn concepts(categories: &[String], spec: &DatasetSpec) -> Result<Vec<u16>> {
    if spec.concepts.is_empty() {
        return Ok((0..).take(categories.len()).collect());
    }
    let number = |name: &String| {
        let found = categories.iter().zip(0..).find(|(c, _)| *c == name).map(|(_, number)| number);
        found.ok_or_else(|| Error::unknown("category of COCO", name, categories.iter().map(String::as_str)))
    };
    spec.concepts.iter().map(number).collect()
}

impl Annotations {
    /// What is known of a category. Regions of which no pixel's centre is inside are too small to say.
    fn fact(&self, category: u16) -> Result<Fact, String> {
        let (crowds, single): (Vec<&Object>, Vec<&Object>) =
            self.objects.iter().filter(|o| o.category == category).partition(|o| o.crowd);
        if single.is_empty() && crowds.is_empty() {
            return Ok(Fact::Nowhere);
        }
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        let mut sure = Mask { width, height, pixels: vec![false; width * height] };
        single.iter().try_for_each(|o| o.shape.paint(&mut sure))?;
        let mut all = sure.clone();
        crowds.iter().try_for_each(|o| o.shape.paint(&mut all))?;
        Ok(if !all.pixels.contains(&true) {
            Fact::Unknown
        } else if crowds.is_empty() {
            Fact::At(sure)
        } else {
            Fact::Rough { sure, all }
        })
    }
}

impl Layout for Coco {
    fn known(&self, frame: &Frame, size: (u32, u32)) -> Result<Known, String> {
        let picture = self.pictures.get(&frame.path).ok_or("it is not listed")?;
        if picture.size != size {
            let (w, h) = picture.size;
            return Err(format!("it has {}x{} pixels and is listed with {w}x{h}", size.0, size.1));
        }
        let facts = self.concepts.iter().map(|c| picture.fact(*c)).collect::<Result<_, _>>()?;
        let context = picture.categories.iter().map(|c| self.categories[usize::from(*c)].clone()).collect();
        Ok(Known { facts, context })
    }
}

#[cfg(test)]
mod tests;
