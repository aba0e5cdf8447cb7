//! Statistics of a study's pictures that parameterisations ask for.

use rayon::prelude::*;

use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::maximise::options::Colours;
use crate::maximise::parameter::ParameterKind;
use crate::maximise::spectrum::Spectrum;
use crate::maximise::{Data, MaximiseOptions};
use crate::stage::Context;

/// Pictures of the fit split that statistics are taken of, evenly spread over it.
const PICTURES: usize = 256;
/// Pictures decoded at once.
const BATCH: usize = 16;

/// What the options need to know of the fit split's pictures; nothing where they need nothing.
///
/// # Errors
/// When a picture cannot be read, or there are none.
pub fn data(context: &Context, options: &MaximiseOptions) -> Result<Data> {
    let mut data = Data::default();
    if options.colours != Colours::Data && options.parameter != ParameterKind::Maco {
        return Ok(data);
    }
    let graph = context.network()?;
    let shape = graph.input_shape();
    let all = context.part(Part::Fit);
    let chosen: Vec<usize> = all.iter().copied().step_by(all.len().div_ceil(PICTURES).max(1)).collect();
    if chosen.is_empty() {
        let hint = "add samples, or change the shares in [split]";
        return Err(Error::data("the fit split", "it has no pictures to take statistics of", hint));
    }
    data.covariance = Some(covariance(context, &chosen, shape)?);
    if options.parameter == ParameterKind::Maco {
        let colours = data.colours(options.colours, shape[0])?;
        let mut spectrum = Spectrum::of(shape);
        for batch in chosen.chunks(BATCH) {
            for picture in pictures(context, batch, shape[0])? {
                spectrum.add(&colours.decorrelate(&picture))?;
            }
        }
        data.spectrum = Some(spectrum);
    }
    Ok(data)
}

/// Covariance of the channels' values over all pixels, `[channel, channel]`.
fn covariance(context: &Context, samples: &[usize], [channels, height, width]: [usize; 3]) -> Result<Vec<f64>> {
    let (mut sums, mut products) = (vec![0.0; channels], vec![0.0; channels * channels]);
    let plane = height * width;
    for batch in samples.chunks(BATCH) {
        for picture in pictures(context, batch, channels)? {
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
    let count = (samples.len() * plane) as f64;
    let entry = |i: usize| products[i] / count - sums[i / channels] / count * sums[i % channels] / count;
    Ok((0..channels * channels).map(entry).collect())
}

/// Pictures as the network gets them, but in \[0, 1\].
fn pictures(context: &Context, samples: &[usize], channels: usize) -> Result<Vec<Vec<f32>>> {
    let preprocess = context.network()?.preprocess();
    let load = |sample: &usize| Ok(preprocess.levels(&preprocess.picture(&context.dataset.image(*sample)?)?, channels));
    samples.par_iter().map(load).collect()
}
