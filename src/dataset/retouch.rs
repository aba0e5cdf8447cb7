//! Edits of photographs: a concept filled in from its surround, a concept pasted where there is none, and sham edits that
//! do the same without the concept. All of it is our definition.

use image::RgbImage;

use super::inpaint::inpaint;
use super::mask::Mask;
use super::preprocess::Filter;
use super::resample::resample;
use super::sample::{Dataset, Edit, Presence};
use crate::error::Result;

/// How far beyond a mask its concept is filled in, in pixels of a picture 224 pixels wide: masks are rarely generous, and a
/// seam of the concept would run into the fill.
const MARGIN: f64 = 2.0;

/// A sample's picture after an edit; `None` for the edits of rendered pictures, and where a mask or the concept is not
/// there (or is there, and should not be).
///
/// # Errors
/// When a picture or mask cannot be read.
pub fn retouched(data: &dyn Dataset, sample: usize, concept: usize, edit: Edit) -> Result<Option<RgbImage>> {
    let image = || data.image(sample);
    Ok(match edit {
        Edit::Removed => match shown(data, sample, concept)? {
            Some(mask) => Some(inpaint(&image()?, &generous(&mask))),
            None => None,
        },
        Edit::Pasted { from } => match (is_absent(data, sample, concept), shown(data, from, concept)?) {
            (true, Some(mask)) => Some(pasted(image()?, &data.image(from)?, &mask)),
            _ => None,
        },
        Edit::ShamFilled { region } => match elsewhere(data, sample, concept, region)? {
            Some(region) => Some(inpaint(&image()?, &region)),
            None => None,
        },
        Edit::ShamPasted { region, from } => {
            match (is_absent(data, from, concept), elsewhere(data, sample, concept, region)?) {
                (true, Some(region)) => Some(pasted(image()?, &data.image(from)?, &region)),
                _ => None,
            }
        }
        Edit::Kept | Edit::With | Edit::Without | Edit::Sham => None,
    })
}

/// The mask of a concept that is present.
fn shown(data: &dyn Dataset, sample: usize, concept: usize) -> Result<Option<Mask>> {
    match data.samples()[sample].presence[concept] {
        Presence::Present => data.mask(sample, concept),
        Presence::Absent | Presence::Unknown => Ok(None),
    }
}

fn is_absent(data: &dyn Dataset, sample: usize, concept: usize) -> bool {
    data.samples()[sample].presence[concept] == Presence::Absent
}

/// Where another sample has the concept, as a region of this one's picture, less where this one has it.
fn elsewhere(data: &dyn Dataset, sample: usize, concept: usize, region: usize) -> Result<Option<Mask>> {
    let Some(other) = shown(data, region, concept)? else { return Ok(None) };
    let own = shown(data, sample, concept)?;
    if own.is_none() && !is_absent(data, sample, concept) {
        return Ok(None);
    }
    let (width, height) = if let Some(own) = &own {
        (own.width, own.height)
    } else {
        let image = data.image(sample)?;
        (image.width() as usize, image.height() as usize)
    };
    let mut region = generous(&other.resize(width, height));
    if let Some(own) = own {
        region.pixels.iter_mut().zip(&generous(&own).pixels).for_each(|(pixel, own)| *pixel &= !own);
    }
    Ok(Some(region))
}

fn generous(mask: &Mask) -> Mask {
    mask.dilate(MARGIN * mask.width as f64 / 224.0)
}

/// The picture with the pixels of `mask` taken from another one, both stretched to this one's size.
fn pasted(mut image: RgbImage, from: &RgbImage, mask: &Mask) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (from, mask) = (resample(from, width, height, Filter::Bilinear), mask.resize(width, height));
    for ((pixel, theirs), inside) in image.pixels_mut().zip(from.pixels()).zip(&mask.pixels) {
        if *inside {
            *pixel = *theirs;
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DatasetSpec, Format, camvid};
    use image::{GrayImage, Luma, Rgb};

    /// Three frames of 12x12 pixels: a car (level 200) in the upper left corner of the first and the lower right one of
    /// the second, none in the third. Backgrounds have levels 10, 20 and 30.
    fn cars() -> (tempfile::TempDir, camvid::Camvid) {
        let dir = tempfile::tempdir().unwrap();
        let at = |kind: &str| dir.path().join(kind).join("train");
        for kind in ["images", "masks"] {
            std::fs::create_dir_all(at(kind)).unwrap();
        }
        for i in 0..3u32 {
            let car = move |x: u32, y: u32| match i {
                0 => x < 4 && y < 4,
                1 => x >= 6 && y >= 6,
                _ => false,
            };
            let level = |x, y| if car(x, y) { 200 } else { 10 * (i as u8 + 1) };
            let name = format!("clip_0{}.png", 30 * i);
            RgbImage::from_fn(12, 12, |x, y| Rgb([level(x, y); 3])).save(at("images").join(&name)).unwrap();
            GrayImage::from_fn(12, 12, |x, y| Luma([if car(x, y) { 8 } else { 3 }]))
                .save(at("masks").join(&name))
                .unwrap();
        }
        let mut spec = DatasetSpec::of(Format::Camvid);
        (spec.root, spec.concepts) = (Some(dir.path().to_path_buf()), vec!["Car".into()]);
        let data = camvid::open(&spec, dir.path()).unwrap();
        (dir, data)
    }

    fn level(image: &RgbImage, x: u32, y: u32) -> u8 {
        image.get_pixel(x, y).0[1]
    }

    #[test]
    fn a_concept_is_removed_and_pasted() {
        let (_dir, data) = cars();
        let removed = data.edited(0, 0, Edit::Removed).unwrap().unwrap();
        assert!(removed.pixels().all(|p| p.0 == [10; 3]));
        let pasted = data.edited(2, 0, Edit::Pasted { from: 1 }).unwrap().unwrap();
        assert_eq!((level(&pasted, 5, 5), level(&pasted, 6, 6), level(&pasted, 0, 0)), (30, 200, 30));
    }

    #[test]
    fn sham_edits_leave_the_concept() {
        let (_dir, data) = cars();
        let filled = data.edited(0, 0, Edit::ShamFilled { region: 1 }).unwrap().unwrap();
        assert_eq!(filled, data.image(0).unwrap(), "a flat background is filled with itself");
        let pasted = data.edited(0, 0, Edit::ShamPasted { region: 1, from: 2 }).unwrap().unwrap();
        assert_eq!((level(&pasted, 0, 0), level(&pasted, 5, 5), level(&pasted, 8, 8)), (200, 10, 30));
        // Where both have the concept, this one's stays.
        let own = data.edited(0, 0, Edit::ShamPasted { region: 0, from: 2 }).unwrap().unwrap();
        assert_eq!(own, data.image(0).unwrap());
        assert!(data.edited(2, 0, Edit::ShamFilled { region: 1 }).unwrap().is_some());
    }

    #[test]
    fn what_does_not_fit_is_not_made() {
        let (_dir, data) = cars();
        let none = |sample, edit| assert_eq!(data.edited(sample, 0, edit).unwrap(), None, "{edit:?}");
        none(2, Edit::Removed);
        none(1, Edit::Pasted { from: 0 });
        none(2, Edit::Pasted { from: 2 });
        none(0, Edit::ShamFilled { region: 2 });
        none(0, Edit::ShamPasted { region: 1, from: 1 });
        none(0, Edit::Kept);
        none(0, Edit::Sham);
    }
}
