//! From the numbers of an ascent to pictures, and from pictures to what a network sees of them.

use candle_core::{Device, Tensor};

use super::colour::Colour;
use super::options::{Colours, MaximiseOptions};
use super::parameter::Parameter;
use super::spectrum::Spectrum;
use super::transform::{Drawn, Frame, add_noise, blur, sample};
use crate::error::{Error, Result};
use crate::model::graph::Graph;
use crate::seed::Seed;

/// Level of the border, in \[0, 1\].
const GREY: f64 = 0.5;

/// What is known of the data that a picture should look like; nothing is needed but by "maco" and `colours = "data"`.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Covariance of the channels' values in \[0, 1\], `[channel, channel]`.
    pub covariance: Option<Vec<f64>>,
    /// Mean spectrum of decorrelated pictures of the network's size.
    pub spectrum: Option<Spectrum>,
}

impl Data {
    /// The colours that options ask for.
    ///
    /// # Errors
    /// When they are those of data that are not known.
    pub fn colours(&self, colours: Colours, channels: usize) -> Result<Colour> {
        match colours {
            Colours::None => Ok(Colour::plain(channels)),
            Colours::Natural => Ok(Colour::natural(channels)),
            Colours::Data => match &self.covariance {
                Some(covariance) if covariance.len() == channels * channels => {
                    Ok(Colour::of_covariance(covariance, channels))
                }
                _ => {
                    let problem = "\"data\" needs the channels' covariance in a dataset";
                    Err(Error::key(
                        "maximise.colours",
                        problem,
                        "run it in a study with a dataset, give --data FOLDER, or choose \"natural\"",
                    ))
                }
            },
        }
    }
}

/// A parameterisation with its colours, for one network on one device.
pub(super) struct Painter {
    parameter: Box<dyn Parameter>,
    device: Device,
    frame: Frame,
    /// To values in (0, 1), and to the network's input.
    picture: Colour,
    input: Colour,
    /// The network's input of a grey border, and of one level of noise, by channel.
    border: Vec<f64>,
    level: Vec<f64>,
    crops: usize,
}

impl Painter {
    pub(super) fn new(
        graph: &Graph,
        device: &Device,
        cell: usize,
        options: &MaximiseOptions,
        data: &Data,
    ) -> Result<Self> {
        let shape = graph.input_shape();
        if shape.contains(&0) {
            let hint = "choose a network with an input";
            return Err(Error::data(format!("model `{}`", graph.name()), format!("its input is {shape:?}"), hint));
        }
        let parameter = options.parameter.build(shape, options.decay, data.spectrum.as_ref())?;
        let picture = data.colours(options.colours, shape[0])?;
        let input = picture.input(graph.preprocess());
        let (border, black) = (input.grey(GREY), input.grey(0.0));
        let level = input.grey(1.0).iter().zip(black).map(|(white, black)| white - black).collect();
        let frame = Frame { size: [shape[1], shape[2]], cell };
        let (device, crops) = (device.clone(), options.crops);
        Ok(Self { parameter, device, frame, picture, input, border, level, crops })
    }

    pub(super) fn frame(&self) -> Frame {
        self.frame
    }

    /// The network's input of one level, by channel: what a gradient at the input is multiplied by to be one at the picture.
    pub(super) fn level(&self) -> &[f64] {
        &self.level
    }

    /// Numbers of one picture.
    pub(super) fn numbers(&self) -> usize {
        self.parameter.shape().iter().product()
    }

    pub(super) fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        self.parameter.start(seed, name)
    }

    /// The numbers of a picture `[channel, height, width]` of values in \[0, 1\].
    ///
    /// # Errors
    /// When it has another size, or the parameterisation or its colours have no way back from a picture.
    pub(super) fn numbers_of(&self, picture: &[f32]) -> Result<Vec<f32>> {
        let [height, width] = self.frame.size;
        let wanted = self.picture.channels() * height * width;
        if picture.len() != wanted {
            let problem = format!("it has {} values, the network wants {wanted}", picture.len());
            return Err(Error::data("the picture to start from", problem, "give a picture of the network's size"));
        }
        let plain = self.picture.invert(picture).ok_or_else(|| {
            let problem = "the data's channels depend on each other, so that no picture has numbers of its own";
            Error::key("maximise.colours", problem, "choose \"natural\" or \"none\" to start from a picture")
        })?;
        self.parameter.invert(&plain).ok_or_else(|| {
            let problem = "\"cppn\" cannot start from a picture";
            Error::key("maximise.parameter", problem, "choose \"fourier\", \"pixel\", \"laplacian\" or \"maco\"")
        })
    }

    /// The numbers of some pictures, where the network is.
    pub(super) fn tensor(&self, numbers: &[f32], pictures: usize) -> Result<Tensor> {
        let shape = [&[pictures], self.parameter.shape().as_slice()].concat();
        Ok(Tensor::from_slice(numbers, shape, &self.device)?)
    }

    /// Plain pictures, before their colours.
    pub(super) fn plain(&self, numbers: &Tensor) -> Result<Tensor> {
        Ok(self.parameter.apply(numbers)?)
    }

    /// Pictures, values in (0, 1).
    pub(super) fn picture(&self, plain: &Tensor) -> Result<Tensor> {
        Ok(self.picture.apply(plain)?)
    }

    /// The network's input of plain pictures as they are.
    pub(super) fn unshaken(&self, plain: &Tensor) -> Result<Tensor> {
        Ok(self.input.apply(plain)?)
    }

    /// A few copies of each of the network's inputs, every copy shaken as was drawn for it.
    pub(super) fn shaken(&self, unshaken: &Tensor, drawn: &[Drawn], names: &[String], seed: Seed) -> Result<Tensor> {
        let mut x = unshaken.clone();
        if self.crops > 1 {
            let (batch, channels, height, width) = x.dims4()?;
            let wide = x.unsqueeze(1)?.broadcast_as((batch, self.crops, channels, height, width))?;
            x = wide.contiguous()?.reshape((batch * self.crops, channels, height, width))?;
        }
        let maps: Vec<_> = drawn.iter().map(|d| d.map).collect();
        let x = sample(&x, &maps, &self.border)?;
        let x = blur(&x, &drawn.iter().map(|d| d.blur).collect::<Vec<_>>())?;
        Ok(add_noise(&x, drawn, &self.level, seed, names)?)
    }
}
