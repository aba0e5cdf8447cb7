//! COCO's JSON, read as a stream: annotations go by one after the other and are never all in memory.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::shape::Shape;
use crate::error::{Error, Result};

const HINT: &str = "wanted COCO's object annotations: images, annotations with segmentation, categories";

/// Everything but the annotations.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) images: Vec<Image>,
    pub(super) categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) id: u64,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    #[serde(default)]
    pub(super) iscrowd: u8,
    pub(super) segmentation: Shape,
}

/// Reads images and categories, passing over the rest.
pub(super) fn head(path: &Path) -> Result<Head> {
    with(path, |json| Head::deserialize(json))
}

/// Hands every annotation to `each`, which may refuse it with a reason.
pub(super) fn annotations(path: &Path, mut each: impl FnMut(Annotation) -> Result<(), String>) -> Result<()> {
    with(path, |json| json.deserialize_map(Annotations(&mut each)))
}

type Json = serde_json::Deserializer<serde_json::de::IoRead<BufReader<File>>>;

fn with<T>(path: &Path, read: impl FnOnce(&mut Json) -> Result<T, serde_json::Error>) -> Result<T> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 18, file));
    let value = read(&mut json).and_then(|value| json.end().map(|()| value));
    value.map_err(|e| Error::file(path, e.to_string(), HINT))
}

/// The object of the whole file.
struct Annotations<'a, F>(&'a mut F);

impl<'de, F: FnMut(Annotation) -> Result<(), String>> Visitor<'de> for Annotations<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with `annotations`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "annotations" {
                map.next_value_seed(Each(&mut *self.0))?;
                found = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(serde::de::Error::missing_field("annotations")) }
    }
}

/// The list of them.
struct Each<'a, F>(&'a mut F);

impl<'de, F: FnMut(Annotation) -> Result<(), String>> DeserializeSeed<'de> for Each<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Annotation) -> Result<(), String>> Visitor<'de> for Each<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of annotations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(annotation) = seq.next_element()? {
            (self.0)(annotation).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}
