//! Image files to pixels. A file that is cut off is an error, never a half-grey picture.

use std::path::Path;

use image::{DynamicImage, RgbImage};

/// More pixels than a byte of JPEG stands for in any picture worth looking at.
const PIXELS_A_BYTE: usize = 4096;

/// Decodes a PNG or JPEG file.
///
/// # Errors
/// A reason for people, without the file's name.
pub fn decode(path: &Path) -> Result<DynamicImage, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    decode_bytes(&bytes)
}

/// Decodes the bytes of a PNG or JPEG file. JPEG goes through libjpeg's code, as in Pillow and torchvision: other decoders
/// round otherwise, and a difference of 0.03 levels in the mean moves deep activations by a percent.
///
/// # Errors
/// A reason for people.
pub fn decode_bytes(bytes: &[u8]) -> Result<DynamicImage, String> {
    let reason = |e: &dyn std::fmt::Display| format!("not a whole PNG or JPEG image: {e}");
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return image::load_from_memory(bytes).map_err(|e| reason(&e));
    }
    if lacks_end(bytes) {
        return Err(reason(&"its end is missing"));
    }
    // The library unwinds on an error in the file; nothing outlives that.
    match std::panic::catch_unwind(|| decode_jpeg(bytes)) {
        Ok(Ok(image)) => Ok(image.into()),
        Ok(Err(e)) => Err(reason(&e)),
        Err(_) => Err(reason(&"its data are damaged")),
    }
}

fn decode_jpeg(bytes: &[u8]) -> std::io::Result<RgbImage> {
    let decoder = mozjpeg::Decompress::new_mem(bytes)?;
    if matches!(decoder.color_space(), mozjpeg::ColorSpace::JCS_CMYK | mozjpeg::ColorSpace::JCS_YCCK) {
        // libjpeg leaves these to its caller.
        return image::load_from_memory(bytes).map(|i| i.to_rgb8()).map_err(std::io::Error::other);
    }
    // A damaged header can announce a picture of gigabytes, which would be filled with grey.
    if decoder.width() * decoder.height() > (PIXELS_A_BYTE * bytes.len()).max(1 << 20) {
        return Err(std::io::Error::other("it is far too short for its size"));
    }
    let mut decoder = decoder.rgb()?;
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    let pixels: Vec<[u8; 3]> = decoder.read_scanlines()?;
    decoder.finish()?;
    let image = RgbImage::from_raw(width, height, pixels.into_flattened());
    image.ok_or_else(|| std::io::Error::other("its pixels do not fit its size"))
}

/// Whether a JPEG file lacks the mark of its end after its last scan: decoders fill the rest with grey.
fn lacks_end(bytes: &[u8]) -> bool {
    let mark = |wanted: u8| move |pair: &[u8]| pair == [0xff, wanted];
    let scan = bytes.windows(2).rposition(mark(0xda));
    scan.is_some_and(|at| !bytes[at..].windows(2).any(mark(0xd9)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;

    fn jpeg() -> Vec<u8> {
        let image = RgbImage::from_fn(32, 24, |x, y| image::Rgb([x as u8 * 8, y as u8 * 10, 90]));
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&image).unwrap();
        bytes
    }

    #[test]
    fn jpeg_pixels_are_near_the_original() {
        let image = decode_bytes(&jpeg()).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (32, 24));
        for (x, y, pixel) in image.enumerate_pixels() {
            assert!(
                pixel.0[0].abs_diff(x as u8 * 8) < 12 && pixel.0[1].abs_diff(y as u8 * 10) < 12,
                "{x} {y} {pixel:?}"
            );
        }
    }

    #[test]
    fn bytes_are_those_of_pillow() {
        // tests/golden/photo.py: a JPEG with halved colour planes, and a digest of what Pillow makes of it.
        let image = decode_bytes(include_bytes!("../../tests/golden/photo.jpg")).unwrap().to_rgb8();
        let wanted = include_str!("../../tests/golden/photo.txt").trim();
        let sums = image.as_raw().chunks(97).map(|c| c.iter().map(|v| u32::from(*v)).sum::<u32>().to_string());
        assert_eq!(sums.collect::<Vec<_>>().join(" "), wanted);
    }

    #[test]
    fn every_cut_is_an_error_and_nothing_panics() {
        let bytes = jpeg();
        for end in 0..bytes.len() {
            assert!(decode_bytes(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            drop(decode_bytes(&damaged));
        }
    }
}
