//! The layouts that a study's `dataset.format` can name: one table, which the checks and `cavern ls datasets` read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Layouts that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Procedural pictures of coloured, textured shapes; nothing is read from disk.
    Elements,
    /// One folder a concept, and folders of negatives.
    Folder,
    /// MNIST's format: `*-images-idx3-ubyte` and `*-labels-idx1-ubyte`, packed or not.
    Idx,
    /// `concepts.jsonl` beside images and masks.
    Manifest,
    /// CamVid road scenes: `images/{train,val}/*.jpg`, `masks/{train,val}/*.png`.
    Camvid,
    /// COCO 2017: `annotations/instances_{train,val}2017.json`, `{train,val}2017/*.jpg`.
    Coco,
    /// Broden: `index.csv`, `label.csv`, `images/SOURCE/…`.
    Broden,
    /// Describable Textures: `labels/labels_joint_anno.txt`, `images/CLASS/*.jpg`.
    Dtd,
    /// FunnyBirds: `dataset_{train,test}.json`, pictures and maps of their parts.
    FunnyBirds,
    /// ADE20K of 2016: `images/…/NAME.jpg`, `NAME_seg.png`, `NAME_parts_1.png`, with `objects.json`.
    Ade20k,
    /// PASCAL-Part, converted: `JPEGImages/ID.jpg`, `annotations/ID.json` and `ID_LAYER.png`.
    PascalPart,
    /// Activations made elsewhere, with labels and masks: `.npz` or `.safetensors`.
    Imported,
}

/// What is known of a layout before any file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FormatInfo {
    /// The layout, by the word in study files.
    pub format: Format,
    /// Keys of `[dataset]` that it needs.
    pub needs: &'static [&'static str],
    /// Keys of `[dataset]` that it takes beside those every layout takes.
    pub takes: &'static [&'static str],
    /// What it holds and where, in one line.
    pub about: &'static str,
}

const ROOT: &[&str] = &["root"];
const ROOT_AND_CONCEPTS: &[&str] = &["root", "concepts"];
const FILES: &[&str] = &["tile", "count"];

const fn files(format: Format, needs: &'static [&'static str], about: &'static str) -> FormatInfo {
    FormatInfo { format, needs, takes: FILES, about }
}

/// Every layout.
pub const FORMATS: &[FormatInfo] = &[
    FormatInfo {
        format: Format::Elements,
        needs: &[],
        takes: &["world", "count"],
        about: "drawn shapes, colours and textures with exact masks; nothing is read from disk",
    },
    FormatInfo {
        format: Format::Folder,
        needs: ROOT,
        takes: &["tile", "count", "group_until"],
        about: "CONCEPT/*.jpg, negative/*.jpg, and masks/CONCEPT/NAME.png if any",
    },
    files(Format::Manifest, ROOT, "concepts.jsonl: a line for every picture, with what is present, absent, and masks"),
    FormatInfo {
        format: Format::Imported,
        needs: ROOT,
        takes: &["count"],
        about: "activations made elsewhere, labels and masks in an .npz or .safetensors file",
    },
    FormatInfo {
        format: Format::Idx,
        needs: ROOT,
        takes: &["count"],
        about: "MNIST's format: NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte, also .gz",
    },
    files(Format::Camvid, ROOT, "CamVid road scenes: images/{train,val}/*.jpg, masks/{train,val}/*.png"),
    files(Format::Coco, ROOT, "COCO 2017: annotations/instances_{train,val}2017.json, {train,val}2017/*.jpg"),
    files(Format::Broden, ROOT_AND_CONCEPTS, "Broden: index.csv, label.csv, images/SOURCE/…"),
    files(Format::Dtd, ROOT, "Describable Textures: labels/labels_joint_anno.txt, images/CLASS/*.jpg"),
    files(Format::FunnyBirds, ROOT, "FunnyBirds: dataset_{train,test}.json, pictures and maps of their parts"),
    files(Format::Ade20k, ROOT_AND_CONCEPTS, "ADE20K of 2016, with objects.json: images/…/NAME.jpg, NAME_seg.png"),
    files(Format::PascalPart, ROOT, "PASCAL-Part, converted: JPEGImages/ID.jpg, annotations/ID.json, ID_LAYER.png"),
];

impl Format {
    /// Its word in study files.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether a key of `[dataset]` that not every layout takes belongs to this one.
    pub fn has(self, key: &str) -> bool {
        FORMATS.iter().any(|f| f.format == self && (f.needs.contains(&key) || f.takes.contains(&key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_listed_and_documented() {
        let docs = include_str!("../../docs/datasets.md");
        // serde names all it knows when it meets one that it does not.
        let message = serde_json::from_str::<Format>("\"?\"").unwrap_err().to_string();
        assert_eq!(message.matches('`').count() / 2 - 1, FORMATS.len(), "{message}");
        for info in FORMATS {
            let name = info.format.name();
            assert_eq!(serde_json::to_value(info.format).unwrap(), name);
            assert!(message.contains(&format!("`{name}`")), "{name}");
            assert!(docs.contains(&format!("| `{name}` |")), "docs/datasets.md lacks {name}");
        }
    }
}
