//! Regions of COCO's annotations: polygons and run lengths, painted into masks.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};

use crate::dataset::mask::Mask;

/// A region of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Flat lists `x, y, x, y, …` in pixels; the region is their union.
    Polygons(Box<[Box<[f32]>]>),
    /// Lengths of runs down the columns, one column after the other, the first run outside the region.
    Runs {
        /// Height and width.
        size: [u32; 2],
        /// The lengths; they add up to height times width.
        runs: Box<[u32]>,
    },
}

impl Shape {
    /// Sets the region's pixels in a mask. A polygon has those whose centres are inside it, by the even-odd rule.
    ///
    /// # Errors
    /// A reason for people: a polygon is not made of pairs, or runs are not of the mask's size.
    pub(super) fn paint(&self, mask: &mut Mask) -> Result<(), String> {
        match self {
            Self::Polygons(polygons) => polygons.iter().try_for_each(|p| paint_polygon(p, mask)),
            Self::Runs { size, runs } => paint_runs(*size, runs, mask),
        }
    }
}

fn paint_polygon(polygon: &[f32], mask: &mut Mask) -> Result<(), String> {
    if !polygon.len().is_multiple_of(2) {
        return Err(format!("a polygon has {} numbers, and points have two each", polygon.len()));
    }
    let points: Vec<[f64; 2]> = polygon.chunks_exact(2).map(|p| [f64::from(p[0]), f64::from(p[1])]).collect();
    let ends = points.iter().cycle().skip(1);
    let edges: Vec<([f64; 2], [f64; 2])> = points.iter().copied().zip(ends.copied()).collect();
    let (low, high) = points.iter().fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p[1]), h.max(p[1])));
    let rows = (low.max(0.0) as usize)..(high.max(0.0).ceil() as usize).min(mask.height);
    let mut crossings: Vec<f64> = Vec::new();
    for y in rows {
        let centre = y as f64 + 0.5;
        let cut = edges.iter().filter(|(a, b)| (a[1] <= centre) != (b[1] <= centre));
        crossings.clear();
        crossings.extend(cut.map(|(a, b)| a[0] + (centre - a[1]) * (b[0] - a[0]) / (b[1] - a[1])));
        crossings.sort_by(f64::total_cmp);
        let row = &mut mask.pixels[y * mask.width..(y + 1) * mask.width];
        for pair in crossings.chunks_exact(2) {
            // The first pixel whose centre is not left of the crossing; negative ones become zero by the cast.
            let [from, to] = [pair[0], pair[1]].map(|x| ((x - 0.5).ceil() as usize).min(row.len()));
            row[from..to.max(from)].fill(true);
        }
    }
    Ok(())
}

fn paint_runs(size: [u32; 2], runs: &[u32], mask: &mut Mask) -> Result<(), String> {
    let (height, width) = (mask.height, mask.width);
    if [height, width] != size.map(|s| s as usize) {
        return Err(format!("a region is of {}x{} pixels, the picture {width}x{height}", size[1], size[0]));
    }
    let total: u64 = runs.iter().map(|r| u64::from(*r)).sum();
    if total != (height * width) as u64 {
        return Err(format!("the runs of a region add up to {total} pixels, the picture has {}", height * width));
    }
    let mut at = 0;
    for (i, run) in runs.iter().enumerate() {
        let end = at + *run as usize;
        if !i.is_multiple_of(2) {
            (at..end).for_each(|p| mask.pixels[p % height * width + p / height] = true);
        }
        at = end;
    }
    Ok(())
}

/// Run lengths from text: numbers in pieces of five bits from the lowest, each a character from `0` on, with 32 added
/// where more follow and the sign in the last one's bit 16; from the fourth number on differences to the last but one.
fn runs_of(text: &str) -> Option<Box<[u32]>> {
    let mut runs: Vec<u32> = Vec::new();
    let (mut value, mut shift) = (0i64, 0u32);
    for byte in text.bytes() {
        let digit = byte.checked_sub(48).filter(|d| *d < 64 && shift <= 50)?;
        value |= i64::from(digit & 31) << shift;
        shift += 5;
        if digit & 32 == 0 {
            let negative = i64::from(digit & 16 != 0) << shift;
            let before = if runs.len() > 2 { i64::from(runs[runs.len() - 2]) } else { 0 };
            runs.push(u32::try_from(value - negative + before).ok()?);
            (value, shift) = (0, 0);
        }
    }
    (shift == 0).then(|| runs.into_boxed_slice())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Text(String),
    Numbers(Vec<u32>),
}

#[derive(Deserialize)]
struct Rle {
    size: [u32; 2],
    counts: Counts,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of polygons, or run lengths with `size` and `counts`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut polygons = Vec::new();
        while let Some(polygon) = seq.next_element::<Vec<f32>>()? {
            polygons.push(polygon.into_boxed_slice());
        }
        Ok(Shape::Polygons(polygons.into_boxed_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape, A::Error> {
        let rle = Rle::deserialize(MapAccessDeserializer::new(map))?;
        let runs = match rle.counts {
            Counts::Numbers(numbers) => numbers.into_boxed_slice(),
            Counts::Text(text) => {
                let wrong = || serde::de::Error::custom("`counts` is no text of run lengths");
                runs_of(&text).ok_or_else(wrong)?
            }
        };
        Ok(Shape::Runs { size: rle.size, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(json: &str, width: usize, height: usize) -> Result<Mask, String> {
        let mut mask = Mask { width, height, pixels: vec![false; width * height] };
        let shape: Shape = serde_json::from_str(json).map_err(|e| e.to_string())?;
        shape.paint(&mut mask).map(|()| mask)
    }

    fn rows(mask: &Mask) -> Vec<String> {
        let row = |row: &[bool]| row.iter().map(|p| if *p { '#' } else { '.' }).collect();
        mask.pixels.chunks_exact(mask.width).map(row).collect()
    }

    #[test]
    fn a_polygon_has_the_pixels_whose_centres_it_holds() {
        let square = painted("[[1, 1, 3, 1, 3, 3, 1, 3]]", 4, 4).unwrap();
        assert_eq!(rows(&square), ["....", ".##.", ".##.", "...."]);
        let halves = painted("[[0, 0, 4, 0, 0, 4]]", 4, 4).unwrap();
        assert_eq!(rows(&halves), ["###.", "##..", "#...", "...."]);
        let two = painted("[[0, 0, 1, 0, 1, 1, 0, 1], [3, 3, 9, 3, 9, 9, 3, 9]]", 4, 4).unwrap();
        assert_eq!(rows(&two), ["#...", "....", "....", "...#"]);
        // The middle of a star that crosses itself is outside.
        let frame = painted("[[0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 1, 1, 3, 1, 3, 3, 1, 3, 1, 1]]", 4, 4).unwrap();
        assert_eq!(rows(&frame), ["####", "#..#", "#..#", "####"]);
    }

    #[test]
    fn runs_go_down_the_columns() {
        let runs = painted(r#"{"size": [2, 3], "counts": [1, 2, 1, 2]}"#, 3, 2).unwrap();
        assert_eq!(rows(&runs), [".##", "#.#"]);
    }

    #[test]
    fn masks_are_those_of_coco_itself() {
        // tests/golden/coco.py: masks, their run lengths both ways, and polygons, by COCO's own library.
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../../tests/golden/coco.json")).unwrap();
        let (mut runs, mut polygons) = (0, 0);
        for case in golden.as_array().unwrap() {
            let wanted: Vec<String> = serde_json::from_value(case["rows"].clone()).unwrap();
            let got = painted(&case["segmentation"].to_string(), wanted[0].len(), wanted.len()).unwrap();
            if case["segmentation"].is_object() {
                assert_eq!(rows(&got), wanted);
                runs += 1;
                continue;
            }
            // COCO paints by corners of fifths of a pixel: the edges differ, by half a pixel at most.
            let wanted: Vec<bool> = wanted.concat().chars().map(|c| c == '#').collect();
            let differ = wanted.iter().zip(&got.pixels).filter(|(a, b)| a != b).count();
            let edge = got.outline().len();
            assert!(differ * 4 <= edge, "{differ} of an edge of {edge}: {case}");
            polygons += 1;
        }
        assert!(runs >= 6 && polygons >= 4);
    }

    #[test]
    fn damaged_regions_are_told() {
        let cases = [
            ("[[1, 1, 3]]", "3 numbers"),
            (r#"{"size": [2, 3], "counts": [1, 2]}"#, "add up to 3 pixels"),
            (r#"{"size": [3, 2], "counts": [6]}"#, "2x3 pixels"),
            (r#"{"size": [2, 3], "counts": "~"}"#, "no text of run lengths"),
            (r#"{"size": [2, 3], "counts": "oooooooooooo"}"#, "no text of run lengths"),
            (r#"{"size": [2, 3], "counts": "O"}"#, "no text of run lengths"),
            ("7", "a list of polygons"),
            ("[[1, null]]", "null"),
        ];
        for (json, wanted) in cases {
            let message = painted(json, 3, 2).unwrap_err();
            assert!(message.contains(wanted), "{json}: {message}");
        }
        for harmless in ["[]", "[[]]", "[[5, 5]]", "[[-1e30, -1e30, 1e30, 0, 0, 1e30]]", "[[1e39, 0, 0, 3, -1e39, 1]]"]
        {
            painted(harmless, 3, 2).unwrap();
        }
    }
}
