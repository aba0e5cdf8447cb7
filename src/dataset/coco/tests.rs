use super::*;
use crate::dataset::sample::{Dataset, Presence};
use crate::dataset::{Format, Tile};
use image::RgbImage;

const YES: Presence = Presence::Present;
const NO: Presence = Presence::Absent;
const OPEN: Presence = Presence::Unknown;

/// Pictures of 8 x 8 pixels: val 1 (a cat of a quarter, a dog smaller than a pixel), val 2 (a crowd of cats in the right
/// half), val 3 (nothing); train 4 (a dog everywhere by run lengths, and a cat of two pixels).
fn tree() -> (tempfile::TempDir, DatasetSpec) {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["annotations", "val2017", "images/train2017"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (path, seed) in [("val2017/1", 1), ("val2017/2", 2), ("val2017/3", 3), ("images/train2017/4", 4)] {
        let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8, y as u8, seed]));
        image.save(dir.path().join(format!("{path}.png"))).unwrap();
    }
    write(&dir, "val", &[1, 2, 3], VAL);
    let train = r#"{"image_id": 4, "category_id": 18, "iscrowd": 0, "segmentation": {"size": [8, 8], "counts": "0P2"}},
        {"image_id": 4, "category_id": 17, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]]}"#;
    write(&dir, "train", &[4], train);
    let mut spec = DatasetSpec::of(Format::Coco);
    (spec.root, spec.present_from) = (Some(dir.path().to_path_buf()), 0.1);
    (dir, spec)
}

const VAL: &str = r#"
    {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "area": 16, "iscrowd": 0, "image_id": 1, "bbox": [0, 0, 4, 4], "category_id": 17, "id": 1},
    {"segmentation": [[6, 6, 6.2, 6, 6.2, 6.2]], "iscrowd": 0, "image_id": 1, "category_id": 18, "id": 2},
    {"segmentation": {"counts": [32, 32], "size": [8, 8]}, "iscrowd": 1, "image_id": 2, "category_id": 17, "id": 3}"#;

fn write(dir: &tempfile::TempDir, source: &str, ids: &[u32], annotations: &str) {
    let image = |id: &u32| format!(r#"{{"id": {id}, "file_name": "{id}.png", "width": 8, "height": 8, "license": 1}}"#);
    let images = ids.iter().map(image).collect::<Vec<_>>().join(", ");
    let categories = r#"{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}"#;
    let text = format!(
        r#"{{"info": {{"year": 2017}}, "images": [{images}], "annotations": [{annotations}], "categories": [{categories}]}}"#
    );
    std::fs::write(dir.path().join(format!("annotations/instances_{source}2017.json")), text).unwrap();
}

#[test]
fn what_is_not_listed_is_absent_and_a_crowd_is_not_known() {
    let (dir, mut spec) = tree();
    let data = open(&spec, dir.path()).unwrap();
    assert_eq!(data.concepts(), ["cat", "dog"]);
    let names: Vec<&str> = data.samples().iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["images-train2017-4", "val2017-1", "val2017-2", "val2017-3"]);
    let presence: Vec<&[Presence]> = data.samples().iter().map(|s| s.presence.as_slice()).collect();
    assert_eq!(presence, [[OPEN, YES], [YES, OPEN], [OPEN, NO], [NO, NO]]);
    let sources: Vec<&str> = data.samples().iter().map(|s| s.source.as_str()).collect();
    assert_eq!(sources, ["train", "val", "val", "val"]);
    assert_eq!(data.samples()[1].coverage[0], 0.25);
    assert_eq!(data.samples()[1].labels.iter().collect::<Vec<_>>(), ["cat", "dog"]);
    let share = |sample, concept| data.mask(sample, concept).unwrap().map(|m| m.coverage());
    assert_eq!([share(0, 1), share(1, 0), share(2, 0), share(3, 0)], [Some(1.0), Some(0.25), Some(0.5), Some(0.0)]);
    assert_eq!(share(1, 1), None, "an object smaller than a pixel has no mask");
    // Categories that are not studied are context all the same.
    spec.concepts = vec!["cat".into()];
    let data = open(&spec, dir.path()).unwrap();
    assert!(data.samples()[0].labels.contains("dog"));
}

#[test]
fn tiles_know_their_part_of_a_region() {
    let (dir, mut spec) = tree();
    (spec.concepts, spec.tile) = (vec!["cat".into()], Some(Tile { size: 4, stride: None }));
    let data = open(&spec, dir.path()).unwrap();
    let of = |name: &str| {
        let found = data.samples().iter().filter(|s| s.name.starts_with(name));
        found.map(|s| s.presence[0]).collect::<Vec<_>>()
    };
    assert_eq!(of("val2017-1"), [YES, NO, NO, NO]);
    assert_eq!(of("val2017-2"), [NO, OPEN, NO, OPEN]);
}

#[test]
fn damaged_files_are_told() {
    let (dir, mut spec) = tree();
    let message = |spec: &DatasetSpec| open(spec, dir.path()).unwrap_err().to_string();
    spec.concepts = vec!["cet".into()];
    assert!(message(&spec).contains("`cat`"));
    spec.concepts.clear();
    let cases = [
        (VAL.replace("\"image_id\": 2", "\"image_id\": 9"), "picture 9, which is not listed"),
        (VAL.replace("\"category_id\": 18", "\"category_id\": 1"), "category 1, which is not listed"),
        (VAL.replace("[32, 32]", "[32, -1]"), "instances_val2017.json"),
        (VAL.replace("[32, 32]", "[32, 3"), "instances_val2017.json"),
        (VAL.replace("[32, 32]", "[32, 3]"), "1 of 4 images cannot be used"),
        (VAL.replace("[8, 8]", "[9, 8]"), "a region is of 8x9 pixels"),
    ];
    for (annotations, wanted) in cases {
        write(&dir, "val", &[1, 2, 3], &annotations);
        let message = message(&spec);
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
    write(&dir, "val", &[1, 2, 2], VAL);
    assert!(message(&spec).contains("2.png is listed twice"));
    write(&dir, "val", &[1, 2, 3, 7], VAL);
    assert!(message(&spec).contains("7.png (cannot be read"));
    spec.max_skipped = 0.5;
    assert_eq!(open(&spec, dir.path()).unwrap().skipped().len(), 1);
    std::fs::write(dir.path().join("annotations/instances_val2017.json"), "{\"images\": []").unwrap();
    assert!(message(&spec).contains("instances_val2017.json"));
    std::fs::remove_dir_all(dir.path().join("annotations")).unwrap();
    assert!(message(&spec).contains("no split of COCO 2017"));
}
