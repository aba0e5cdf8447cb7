//! What is looked at: pictures, concept labels, masks, splits and views.

pub mod ade20k;
pub mod advice;
pub mod annotated;
pub mod broden;
pub mod camvid;
pub mod coco;
pub mod csv;
pub mod decode;
pub mod dtd;
pub mod elements;
pub mod folder;
pub mod format;
pub mod funnybirds;
pub mod idx;
pub mod imported;
pub mod inpaint;
pub mod label_map;
pub mod manifest;
pub mod mask;
pub mod pascal_part;
pub mod pictures;
pub mod preprocess;
pub mod resample;
pub mod retouch;
pub mod sample;
pub mod spec;
pub mod split;
pub mod tile;
pub mod view;

use std::path::Path;

pub use format::{FORMATS, Format, FormatInfo};
pub use mask::Mask;
pub use preprocess::{Picture, Preprocess};
pub use sample::{Dataset, Edit, Editing, Presence, Sample, Skipped};
pub use spec::{DatasetSpec, SplitSpec, Tile, World};
pub use split::{Part, Split};
pub use view::{Motion, Transform, View};

use crate::error::{Error, Result};
use crate::seed::Seed;

/// Opens the dataset that a study names.
///
/// # Errors
/// When its table is not right, or its files are not there or not usable.
pub fn open(spec: &DatasetSpec, seed: Seed) -> Result<Box<dyn Dataset>> {
    spec.check()?;
    match spec.format {
        Format::Elements => Ok(Box::new(elements::open(spec, seed)?)),
        Format::Camvid => Ok(Box::new(camvid::open(spec, root(spec)?)?)),
        Format::Coco => Ok(Box::new(coco::open(spec, root(spec)?)?)),
        Format::Broden => Ok(Box::new(broden::open(spec, root(spec)?)?)),
        Format::Dtd => Ok(Box::new(dtd::open(spec, root(spec)?)?)),
        Format::FunnyBirds => Ok(Box::new(funnybirds::open(spec, root(spec)?)?)),
        Format::Ade20k => Ok(Box::new(ade20k::open(spec, root(spec)?)?)),
        Format::PascalPart => Ok(Box::new(pascal_part::open(spec, root(spec)?)?)),
        Format::Folder => Ok(Box::new(folder::open(spec, root(spec)?)?)),
        Format::Idx => Ok(Box::new(idx::open(spec, root(spec)?)?)),
        Format::Manifest => Ok(Box::new(manifest::open(spec, root(spec)?)?)),
        Format::Imported => Ok(Box::new(imported::open(spec, root(spec)?)?)),
    }
}

fn root(spec: &DatasetSpec) -> Result<&Path> {
    let hint = "set it in the study, or by --set dataset.root=PATH";
    spec.root.as_deref().ok_or_else(|| Error::key("dataset.root", "this format needs a folder or file", hint))
}
