//! Statistics of pictures that parameterisations ask for: of a study's fit split, or of a folder.

use std::path::Path;

use image::RgbImage;
use rayon::prelude::*;

use super::photograph::check_input;
use crate::dataset::decode::decode;
use crate::dataset::pictures::image_files;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::maximise::options::Colours;
use crate::maximise::parameter::ParameterKind;
use crate::maximise::spectrum::Spectrum;
use crate::maximise::{Data, MaximiseOptions};
use crate::model::Graph;
use crate::stage::Context;

/// Pictures that statistics are taken of, evenly spread over all.
const PICTURES: usize = 256;
/// Pictures decoded at once.
const BATCH: usize = 16;

/// What the options need to know of the fit split's pictures; nothing where they need nothing.
///
/// # Errors
/// When a picture cannot be read, or there are none.
pub fn data(context: &Context, options: &MaximiseOptions) -> Result<Data> {
    if !is_needed(options) {
        return Ok(Data::default());
    }
    let all = context.part(Part::Fit);
    if all.is_empty() {
        let hint = "add samples, or change the shares in [split]";
        return Err(Error::data("the fit split", "it has no pictures to take statistics of", hint));
    }
    statistics(context.network()?, options, &all, &|sample| context.dataset.image(*sample))
}

/// The same of the PNG and JPEG pictures of a folder and the folders in it, sorted by path.
///
/// # Errors
/// When the folder cannot be read or has no pictures, one cannot be read, or the network takes none.
pub fn data_of_folder(folder: &Path, graph: &Graph, options: &MaximiseOptions) -> Result<Data> {
    if !is_needed(options) {
        return Ok(Data::default());
    }
    let hint = "name a folder of PNG or JPEG pictures like those that the network was trained on";
    if !folder.is_dir() {
        return Err(Error::file(folder, "there is no such folder", hint));
    }
    let files = image_files(folder)?;
    if files.is_empty() {
        return Err(Error::file(folder, "it has no pictures to take statistics of", hint));
    }
    let read = |path: &Path| decode(path).map_err(|reason| Error::file(path, reason, "take it out of the folder"));
    statistics(graph, options, &files, &|path| Ok(read(path)?.to_rgb8()))
}

/// Whether the options ask for statistics.
pub fn is_needed(options: &MaximiseOptions) -> bool {
    options.colours == Colours::Data || options.parameter == ParameterKind::Maco
}

/// Reads a picture.
type Read<'a, T> = &'a (dyn Fn(&T) -> Result<RgbImage> + Sync);

fn statistics<T: Sync>(graph: &Graph, options: &MaximiseOptions, all: &[T], read: Read<'_, T>) -> Result<Data> {
    check_input(graph)?;
    let shape = graph.input_shape();
    let chosen: Vec<&T> = all.iter().step_by(all.len().div_ceil(PICTURES).max(1)).collect();
    let covariance = Some(covariance(graph, &chosen, read)?);
    let mut data = Data { covariance, spectrum: None };
    if options.parameter == ParameterKind::Maco {
        let colours = data.colours(options.colours, shape[0])?;
        let mut spectrum = Spectrum::of(shape);
        for batch in chosen.chunks(BATCH) {
            for picture in pictures(graph, batch, read)? {
                spectrum.add(&colours.decorrelate(&picture))?;
            }
        }
        data.spectrum = Some(spectrum);
    }
    Ok(data)
}

/// Covariance of the channels' values over all pixels, `[channel, channel]`.
fn covariance<T: Sync>(graph: &Graph, all: &[&T], read: Read<'_, T>) -> Result<Vec<f64>> {
    let [channels, height, width] = graph.input_shape();
    let (mut sums, mut products) = (vec![0.0; channels], vec![0.0; channels * channels]);
    let plane = height * width;
    for batch in all.chunks(BATCH) {
        for picture in pictures(graph, batch, read)? {
            for i in 0..plane {
                for a in 0..channels {
                    let value = f64::from(picture[a * plane + i]);
                    sums[a] += value;
                    for b in 0..channels {
                        products[a * channels + b] += value * f64::from(picture[b * plane + i]);
                    }
                }
            }
        }
    }
    let count = (all.len() * plane) as f64;
    let entry = |i: usize| products[i] / count - sums[i / channels] / count * sums[i % channels] / count;
    Ok((0..channels * channels).map(entry).collect())
}

/// Pictures as the network gets them, but in \[0, 1\].
fn pictures<T: Sync>(graph: &Graph, batch: &[&T], read: Read<'_, T>) -> Result<Vec<Vec<f32>>> {
    let (preprocess, channels) = (graph.preprocess(), graph.input_shape()[0]);
    batch.par_iter().map(|one| Ok(preprocess.levels(&preprocess.picture(&read(one)?)?, channels))).collect()
}
