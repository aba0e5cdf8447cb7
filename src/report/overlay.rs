//! A localisation map over its picture: blue where the map speaks against the concept, red where it speaks for it.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb, RgbImage};

use crate::dataset::Mask;
use crate::error::{Error, Result};

/// A shown picture has at least this many pixels a side.
const SMALLEST: u32 = 160;
const NEGATIVE: [f32; 3] = [33.0, 102.0, 172.0];
const POSITIVE: [f32; 3] = [178.0, 24.0, 43.0];
/// Colour at full strength still lets this much of the picture through.
const THROUGH: f32 = 0.15;
const OUTLINE: Rgb<u8> = Rgb([255, 221, 0]);
const OUTLINE_EDGE: Rgb<u8> = Rgb([20, 20, 20]);

/// Lays a signed map over a picture and draws the mask's outline.
///
/// `map` has one value for each pixel of the picture, row by row; `range` is the absolute value that gets full colour:
/// one number for a whole dataset (the 99 % quantile of |map|, say), so that pictures can be compared. Values that are
/// not finite are left uncoloured. The picture is shown grey and enlarged by a whole factor to 160 pixels or more.
///
/// # Errors
/// When the map's length is not the picture's, or the mask's not its own width times height.
pub fn overlay(picture: &RgbImage, map: &[f32], range: f32, mask: Option<&Mask>) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    if map.len() != width as usize * height as usize || map.is_empty() {
        return Err(Error::Failure(format!("a map of {} values over a picture of {width} x {height}", map.len())));
    }
    let factor = SMALLEST.div_ceil(width.min(height));
    let (w, h) = (width * factor, height * factor);
    // Enlarged pixels stay pixels; the map, which was interpolated before, is interpolated further.
    let picture = resize(picture, w, h, FilterType::Nearest);
    let strength = enlarged(map, range, (width, height), (w, h))?;
    let mut out = RgbImage::from_fn(w, h, |x, y| blend(*picture.get_pixel(x, y), strength.get_pixel(x, y).0[0]));
    if let Some(mask) = mask {
        outline(&mut out, mask)?;
    }
    Ok(out)
}

/// The map divided by its range, in [0, 1] with 0.5 for zero: the resizing knows no negative values.
fn enlarged(map: &[f32], range: f32, from: (u32, u32), to: (u32, u32)) -> Result<ImageBuffer<Luma<f32>, Vec<f32>>> {
    let scaled: Vec<f32> = map
        .iter()
        .map(|v| if v.is_finite() && range > 0.0 { 0.5 + 0.5 * (v / range).clamp(-1.0, 1.0) } else { 0.5 })
        .collect();
    let small = ImageBuffer::from_raw(from.0, from.1, scaled)
        .ok_or_else(|| Error::Failure("a map does not fill its picture".to_owned()))?;
    Ok(resize(&small, to.0, to.1, FilterType::Triangle))
}

fn blend(pixel: Rgb<u8>, strength: f32) -> Rgb<u8> {
    let [r, g, b] = pixel.0.map(f32::from);
    // Compressed towards the middle, so that colour shows on black and on white.
    let grey = 48.0 + 0.72 * (0.299 * r + 0.587 * g + 0.114 * b);
    let signed = 2.0 * strength - 1.0;
    let end = if signed < 0.0 { NEGATIVE } else { POSITIVE };
    let alpha = (1.0 - THROUGH) * signed.abs().min(1.0).powf(0.8);
    Rgb(end.map(|c| (grey + (c - grey) * alpha).round().clamp(0.0, 255.0) as u8))
}

/// A yellow line two pixels wide inside the mask's edge, and a dark one outside.
fn outline(picture: &mut RgbImage, mask: &Mask) -> Result<()> {
    if mask.pixels.len() != mask.width * mask.height || mask.pixels.is_empty() {
        return Err(Error::Failure(format!(
            "a mask of {} flags for {} x {} pixels",
            mask.pixels.len(),
            mask.width,
            mask.height
        )));
    }
    let (w, h) = (i64::from(picture.width()), i64::from(picture.height()));
    let inside = |x: i64, y: i64| {
        let within = (0..w).contains(&x) && (0..h).contains(&y);
        within && mask.pixels[y as usize * mask.height / h as usize * mask.width + x as usize * mask.width / w as usize]
    };
    for y in 0..h {
        for x in 0..w {
            let differs = |reach: i64| {
                let own = inside(x, y);
                [(reach, 0), (-reach, 0), (0, reach), (0, -reach)].iter().any(|(dx, dy)| inside(x + dx, y + dy) != own)
            };
            if inside(x, y) && (differs(1) || differs(2)) {
                picture.put_pixel(x as u32, y as u32, OUTLINE);
            } else if !inside(x, y) && differs(1) {
                picture.put_pixel(x as u32, y as u32, OUTLINE_EDGE);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(side: u32) -> RgbImage {
        RgbImage::from_pixel(side, side, Rgb([128, 128, 128]))
    }

    #[test]
    fn sign_gives_the_colour_and_zero_gives_none() {
        let out = overlay(&grey(3), &[-1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 0.0, f32::NAN], 1.0, None).unwrap();
        assert_eq!(out.dimensions(), (162, 162));
        let [left, middle, right] = [2, 81, 160].map(|x| out.get_pixel(x, 30).0);
        assert!(left[2] > left[0] + 50, "{left:?}");
        assert!(right[0] > right[2] + 50, "{right:?}");
        assert!(middle.iter().all(|v| v.abs_diff(140) <= 3), "{middle:?}");
    }

    #[test]
    fn the_range_is_symmetric_and_clipped() {
        let at = |v: f32, range: f32| overlay(&grey(160), &vec![v; 160 * 160], range, None).unwrap();
        assert_eq!(at(5.0, 5.0), at(50.0, 5.0));
        assert_eq!(at(1.0, 0.0), at(0.0, 1.0));
    }

    #[test]
    fn the_outline_lies_on_the_masks_edge() {
        let pixels = (0..64).map(|i| (2..6).contains(&(i % 8)) && (2..6).contains(&(i / 8))).collect();
        let mask = Mask { width: 8, height: 8, pixels };
        let out = overlay(&grey(160), &vec![0.0; 160 * 160], 1.0, Some(&mask)).unwrap();
        assert_eq!(*out.get_pixel(40, 80), OUTLINE);
        assert_eq!(*out.get_pixel(41, 80), OUTLINE);
        assert_eq!(*out.get_pixel(39, 80), OUTLINE_EDGE);
        assert_eq!(out.get_pixel(42, 80).0, [140, 140, 140]);
        assert_eq!(out.get_pixel(38, 80).0, [140, 140, 140]);
    }

    #[test]
    fn a_map_of_another_size_is_refused() {
        assert!(overlay(&grey(4), &[0.0; 15], 1.0, None).is_err());
    }
}
