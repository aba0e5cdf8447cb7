//! Image files to pixels. A file that is cut off is an error, never a half-grey picture.

use std::path::Path;

use image::{DynamicImage, GrayImage, RgbImage};

/// Decodes a PNG or JPEG file.
///
/// # Errors
/// A reason for people, without the file's name.
pub fn decode(path: &Path) -> Result<DynamicImage, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    decode_bytes(&bytes)
}

/// Decodes the bytes of a PNG or JPEG file. JPEG goes through jpeg-decoder, whose pixels are within 3 levels of
/// libjpeg's, which other tools use (mean difference 0.1; the image crate's own decoder: 0.2).
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
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let pixels = decoder.decode().map_err(|e| reason(&e))?;
    let info = decoder.info().ok_or_else(|| reason(&"it has no header"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let image = match info.pixel_format {
        jpeg_decoder::PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        jpeg_decoder::PixelFormat::L8 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => image::load_from_memory(bytes).ok(),
    };
    image.ok_or_else(|| reason(&"its pixels do not fit its size"))
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
