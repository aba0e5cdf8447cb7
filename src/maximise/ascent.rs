//! The ascent itself: many pictures at once, each towards its own direction.

use candle_core::{Device, Tensor, Var};
use image::RgbImage;

use super::adam::Adam;
use super::colour::Colour;
use super::fourier::Fourier;
use super::job::Job;
use super::objective::Objective;
use super::options::MaximiseOptions;
use super::transform::{self, Affine};
use crate::error::{Error, Result};
use crate::model::graph::{Graph, Layout};
use crate::probe::Variant;
use crate::seed::Seed;

/// Steps between two looks at the unshaken pictures.
const LOOK: usize = 8;
/// Level of the border, in \[0, 1\].
const GREY: f64 = 0.5;
/// Decay of the spectrum: that of natural pictures.
const DECAY: f64 = 1.0;

/// A picture that was made for a direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// The picture after the last step.
    pub picture: RgbImage,
    /// The unshaken picture with the highest score, of every eighth step and the last.
    pub best: RgbImage,
    /// The objective at every step, of the shaken picture: what Adam climbs, noisy by the shaking.
    pub trace: Vec<f32>,
    /// Score of the last picture, unshaken, as probes have it without their offset: `<w, z>`, or the mean of `z_p v`.
    pub final_score: f32,
    /// The same of the best picture.
    pub best_score: f32,
    /// Steps made before the best picture.
    pub best_step: usize,
    /// What is wrong with the picture, where something is: "gradient is zero" or "never active".
    pub diagnosis: Option<String>,
}

impl Rendering {
    /// The last picture as a PNG file.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        png(&self.picture)
    }
}

/// A picture as a PNG file.
///
/// # Errors
/// When it cannot be encoded.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, image::ImageFormat::Png);
    written.map_err(|e| Error::Failure(format!("cannot encode a picture: {e}")))?;
    Ok(bytes.into_inner())
}

/// Renders every job at the activation of `node`, in the jobs' order. `done` is called after every step with the number
/// of pictures that made it: `jobs.len() * options.steps` in all. A job's result depends on the graph, the job, the
/// options and the seed; the batch it is in and the number of threads change no byte.
///
/// # Errors
/// When a direction does not fit the layer, the network does not take colour pictures, or a value stops being finite.
pub fn maximise(
    graph: &Graph,
    node: usize,
    jobs: &[Job],
    options: &MaximiseOptions,
    seed: Seed,
    done: impl FnMut(usize),
) -> Result<Vec<Rendering>> {
    maximise_on(&Device::Cpu, graph, node, jobs, options, seed, done)
}

/// The same on the device that the graph's weights are on.
///
/// # Errors
/// Those of [`maximise`], or when the graph is on another device.
pub fn maximise_on(
    device: &Device,
    graph: &Graph,
    node: usize,
    jobs: &[Job],
    options: &MaximiseOptions,
    seed: Seed,
    mut done: impl FnMut(usize),
) -> Result<Vec<Rendering>> {
    options.check()?;
    let layer = Layer::new(graph, node, device)?;
    jobs.iter().try_for_each(|job| layer.check(job))?;
    let mut renderings = Vec::with_capacity(jobs.len());
    for jobs in jobs.chunks(options.batch) {
        let mut ascent = Ascent::new(&layer, jobs, options, seed);
        for step in 0..options.steps {
            if step % LOOK == 0 {
                ascent.look(step)?;
            }
            ascent.step(step)?;
            done(jobs.len());
        }
        ascent.look(options.steps)?;
        renderings.extend(ascent.finish());
    }
    Ok(renderings)
}

/// The layer that is asked, with the maps to its network's input.
struct Layer<'a> {
    graph: &'a Graph,
    device: &'a Device,
    node: usize,
    layout: Layout,
    /// Height and width of the input in pixels.
    size: (usize, usize),
    /// Side of a cell of the layer's grid, in pixels of the input.
    cell: usize,
    /// Channels of the activation, and values of one activation.
    channels: usize,
    values: usize,
    fourier: Fourier,
    colour: Colour,
}

impl<'a> Layer<'a> {
    fn new(graph: &'a Graph, node: usize, device: &'a Device) -> Result<Self> {
        let [colours, height, width] = graph.input_shape();
        if colours != 3 || height == 0 || width == 0 {
            let problem = format!("its input is {:?}, not a colour picture", graph.input_shape());
            let hint = "pictures can be made for networks with three input channels";
            return Err(Error::data(format!("model `{}`", graph.name()), problem, hint));
        }
        let layout = graph.layout(node);
        let shape = layout.map_shape();
        Ok(Self {
            graph,
            device,
            node,
            layout,
            size: (height, width),
            cell: width / shape[2].max(1),
            channels: shape[0],
            values: shape.iter().product(),
            fourier: Fourier::new(height, width, DECAY),
            colour: Colour::input(graph.preprocess()),
        })
    }

    fn name(&self) -> &str {
        self.graph.layer_name(self.node)
    }

    fn check(&self, job: &Job) -> Result<()> {
        let wanted = if job.variant == Variant::Full { self.values } else { self.channels };
        if job.direction.len() == wanted && wanted > 0 {
            return Ok(());
        }
        let problem =
            format!("the {} direction has {} values, wanted {wanted}", job.variant.name(), job.direction.len());
        Err(self.failure(job, &problem, "fit the probe on this layer of this model"))
    }

    fn failure(&self, job: &Job, problem: &str, hint: &str) -> Error {
        Error::data(format!("layer `{}`, job `{}`, seed {}", self.name(), job.label, job.seed), problem, hint)
    }

    /// Activations `[batch, values]` of network inputs.
    fn activations(&self, input: &Tensor) -> Result<Tensor> {
        let mut out = self.graph.forward(input, &[self.node])?;
        let z = out.pop().ok_or_else(|| Error::Failure("the network gave no activation".into()))?;
        Ok(self.layout.to_map(&z)?.flatten_from(1)?)
    }
}

/// One batch of jobs on its way.
struct Ascent<'a> {
    layer: &'a Layer<'a>,
    jobs: &'a [Job],
    objectives: Vec<Objective<'a>>,
    options: &'a MaximiseOptions,
    seed: Seed,
    /// Coefficients of all pictures, one after the other.
    spectra: Vec<f32>,
    adam: Adam,
    tracks: Vec<Track>,
}

/// What is remembered of one picture.
#[derive(Default)]
struct Track {
    trace: Vec<f32>,
    best: Option<Look>,
    last: Option<Look>,
    /// Whether any step had a gradient.
    moved: bool,
}

#[derive(Clone)]
struct Look {
    step: usize,
    score: f64,
    picture: RgbImage,
}

impl<'a> Ascent<'a> {
    fn new(layer: &'a Layer<'a>, jobs: &'a [Job], options: &'a MaximiseOptions, seed: Seed) -> Self {
        let noise = |job: &Job| layer.fourier.noise(seed, &format!("maximise noise {}", job.seed));
        let spectra: Vec<f32> = jobs.iter().flat_map(noise).collect();
        let objective =
            |j: &'a Job| Objective { direction: &j.direction, variant: j.variant, cosine_power: options.cosine_power };
        Self {
            layer,
            jobs,
            objectives: jobs.iter().map(objective).collect(),
            options,
            seed,
            adam: Adam::new(spectra.len(), options.learning_rate),
            spectra,
            tracks: jobs.iter().map(|_| Track::default()).collect(),
        }
    }

    /// All coefficients, where the network is.
    fn spectrum(&self) -> Result<Tensor> {
        let shape = [&[self.jobs.len()], self.layer.fourier.shape().as_slice()].concat();
        Ok(Tensor::from_slice(&self.spectra, shape, self.layer.device)?)
    }

    /// One step of Adam on all pictures. All tensors of the step are dropped at its end, and their graph with them.
    fn step(&mut self, step: usize) -> Result<()> {
        let spectrum = Var::from_tensor(&self.spectrum()?)?;
        let colours = self.layer.colour.apply(&self.layer.fourier.apply(&spectrum)?)?;
        let input = transform::sample(&colours, &self.maps(step), self.layer.colour.grey(GREY))?;
        let (layer, mut tracks) = (self.layer, std::mem::take(&mut self.tracks));
        let slope = layer.graph.pull_back(layer.node, &input, |first, z| self.evaluate(first, z, &mut tracks[first..]));
        self.tracks = tracks;
        // The gradient of `<slope, input>`, slope held fixed, is that of the objectives.
        let gradients = (input * slope?)?.sum_all()?.backward()?;
        let gradient = match gradients.get(&spectrum) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; self.spectra.len()],
        };
        self.inspect(&gradient)?;
        self.adam.ascend(&mut self.spectra, &gradient);
        Ok(())
    }

    fn maps(&self, step: usize) -> Vec<Affine> {
        let (layer, transforms) = (self.layer, self.options.transforms);
        let map =
            |j: &Job| transform::draw(transforms.of(j.variant), layer.size.1, layer.cell, self.seed, j.seed, step);
        self.jobs.iter().map(map).collect()
    }

    /// Notes the objectives of the activations z of the jobs from `first` on, and returns the gradients of z.
    fn evaluate(&self, first: usize, z: &Tensor, tracks: &mut [Track]) -> Result<Tensor> {
        let z = self.layer.layout.to_map(z)?;
        let values = z.flatten_all()?.to_vec1::<f32>()?;
        let mut slope = vec![0f32; values.len()];
        let activations = values.chunks_exact(self.layer.values).zip(slope.chunks_exact_mut(self.layer.values));
        let jobs = self.jobs[first..].iter().zip(&self.objectives[first..]).zip(tracks);
        for ((z, slope), ((job, objective), track)) in activations.zip(jobs) {
            let value = objective.evaluate(z, slope);
            if !value.is_finite() {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.layer.failure(job, "the objective is not a finite number", hint));
            }
            track.trace.push(value as f32);
        }
        self.layer.layout.from_map(&Tensor::from_vec(slope, z.dims(), z.device())?)
    }

    /// Checks the gradients, and notes which are zero.
    fn inspect(&mut self, gradient: &[f32]) -> Result<()> {
        let pictures = gradient.chunks_exact(gradient.len() / self.jobs.len());
        for ((gradient, track), job) in pictures.zip(&mut self.tracks).zip(self.jobs) {
            if !gradient.iter().all(|g| g.is_finite()) {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.layer.failure(job, "the gradient is not finite", hint));
            }
            track.moved |= gradient.iter().any(|g| *g != 0.0);
        }
        Ok(())
    }

    /// Scores the pictures as they are, unshaken, after `step` steps.
    fn look(&mut self, step: usize) -> Result<()> {
        let plain = self.layer.fourier.apply(&self.spectrum()?)?;
        let z = self.layer.activations(&self.layer.colour.apply(&plain)?)?.flatten_all()?.to_vec1::<f32>()?;
        let pixels = Colour::PICTURE.apply(&plain)?.flatten_all()?.to_vec1::<f32>()?;
        let (height, width) = self.layer.size;
        let pictures = pixels.chunks_exact(3 * height * width).zip(z.chunks_exact(self.layer.values));
        for (i, (pixels, z)) in pictures.enumerate() {
            let score = self.objectives[i].score(z);
            if !score.is_finite() {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.layer.failure(&self.jobs[i], "the score is not a finite number", hint));
            }
            let look = Look { step, score, picture: to_image(pixels, width) };
            let track = &mut self.tracks[i];
            if track.best.as_ref().is_none_or(|best| score > best.score) {
                track.best = Some(look.clone());
            }
            track.last = Some(look);
        }
        Ok(())
    }

    fn finish(self) -> impl Iterator<Item = Rendering> {
        self.tracks.into_iter().filter_map(Track::finish)
    }
}

impl Track {
    /// `None` before the first look, which every ascent has.
    fn finish(self) -> Option<Rendering> {
        let (best, last) = (self.best?, self.last?);
        let diagnosis = match (self.moved, best.score > 0.0) {
            (false, _) => Some("gradient is zero".to_owned()),
            (true, false) => Some("never active".to_owned()),
            (true, true) => None,
        };
        Some(Rendering {
            picture: last.picture,
            best: best.picture,
            trace: self.trace,
            final_score: last.score as f32,
            best_score: best.score as f32,
            best_step: best.step,
            diagnosis,
        })
    }
}

/// Planes of values in \[0, 1\] as eight bits a channel.
fn to_image(pixels: &[f32], width: usize) -> RgbImage {
    let plane = pixels.len() / 3;
    RgbImage::from_fn(width as u32, (plane / width) as u32, |x, y| {
        let at = y as usize * width + x as usize;
        image::Rgb([0, 1, 2].map(|c| (pixels[c * plane + at].clamp(0.0, 1.0) * 255.0).round() as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::preprocess::{Filter, Preprocess};
    use crate::maximise::Transforms;
    use crate::model::graph::{GraphBuilder, Op};
    use crate::ops::check::random;
    use crate::ops::{Activation, Conv2d, Padding};
    use candle_core::DType;

    const TI: Variant = Variant::TranslationInvariant;

    /// Two convolutions, the second with the given bias: 16 x 16 pixels, then `[6, 8, 8]`.
    fn graph(bias: f64) -> Graph {
        let single = |shape: &[usize], seed| random(shape, seed).to_dtype(DType::F32).unwrap();
        let mut g = GraphBuilder::new([3, 16, 16]);
        let conv = Conv2d { stride: 2, padding: Padding::Same, activation: Activation::Relu6, ..Conv2d::default() };
        let a = g.add("a", Op::Conv2d(conv, single(&[8, 3, 3, 3], 1), single(&[8], 2)), &[0]);
        let conv = Conv2d { padding: Padding::Same, activation: Activation::Relu, ..Conv2d::default() };
        let bias = (single(&[6], 4) + bias).unwrap();
        g.add("b", Op::Conv2d(conv, single(&[6, 8, 3, 3], 3), bias), &[a]);
        let preprocess = Preprocess { size: 16, filter: Filter::Nearest, crop: None, mean: [0.5; 3], std: [0.25; 3] };
        g.finish("tiny", preprocess, Vec::new(), &Device::Cpu).unwrap()
    }

    fn job(label: &str, direction: &[f32], seed: u64) -> Job {
        Job { label: label.into(), direction: direction.to_vec(), variant: TI, seed }
    }

    fn options() -> MaximiseOptions {
        MaximiseOptions { steps: 20, batch: 3, ..MaximiseOptions::default() }
    }

    fn run(graph: &Graph, jobs: &[Job], options: &MaximiseOptions) -> Vec<Rendering> {
        maximise(graph, 2, jobs, options, Seed(7), |_| {}).unwrap()
    }

    const V: [f32; 6] = [0.5, -0.5, 0.5, 0.0, 0.0, 0.5];

    #[test]
    fn the_objective_rises_and_its_opposite_lowers_it() {
        let g = graph(0.0);
        let opposite = V.map(|v| -v);
        for transforms in [Transforms::Lucid, Transforms::Small, Transforms::None] {
            for cosine_power in [0.0, 2.0] {
                let options = MaximiseOptions { transforms, cosine_power, ..options() };
                let out = run(&g, &[job("v", &V, 0), job("-v", &opposite, 0)], &options);
                let (first, last) = (out[0].trace[0], out[0].trace[19]);
                assert!(last > first + 0.1 * first.abs(), "{transforms:?} {cosine_power}: {:?}", out[0].trace);
                assert!(-out[1].final_score < out[0].final_score, "{transforms:?} {cosine_power}");
                assert!(out[1].trace[19] > out[1].trace[0]);
                assert_eq!(out[0].trace.len(), 20);
                assert!(out[0].best_score >= out[0].final_score && out[0].best_step <= 20);
                assert_eq!(out[0].picture.dimensions(), (16, 16));
                assert_eq!(image::load_from_memory(&out[0].png().unwrap()).unwrap().to_rgb8(), out[0].picture);
            }
        }
    }

    #[test]
    fn the_composed_form_climbs_the_same_way() {
        let (g, jobs) = (graph(0.0), [job("v", &V, 0), job("v", &V, 1)]);
        let go = || run(&g, &jobs, &options());
        for (wanted, got) in go().iter().zip(crate::ops::composed::force(go)) {
            for (wanted, got) in wanted.trace.iter().zip(&got.trace) {
                assert!((wanted - got).abs() < 1e-3 * (1.0 + wanted.abs()), "{wanted} {got}");
            }
        }
    }

    #[test]
    fn full_directions_ask_for_one_place() {
        let mut direction = vec![0.0; 6 * 64];
        direction[2 * 64 + 27] = 1.0;
        let full = Job { variant: Variant::Full, ..job("full", &direction, 0) };
        let options = MaximiseOptions { transforms: Transforms::None, ..options() };
        let out = run(&graph(3.0), &[full, job("ti", &V, 0)], &options);
        assert!(out[0].final_score > out[0].trace[0], "{:?}", out[0].trace);
        // Pixels far from the cell's window are not asked for and stay the noise's grey.
        let spread = |x: u32, y: u32| out[0].picture.get_pixel(x, y).0.map(|v| v.abs_diff(128)).into_iter().max();
        assert!(spread(7, 7) > spread(15, 0), "{:?} {:?}", spread(7, 7), spread(15, 0));
    }

    #[test]
    fn neither_batch_nor_threads_change_a_byte() {
        let g = graph(0.0);
        let w = [0.0, 0.6, 0.0, 0.8, 0.0, 0.0];
        let jobs: Vec<Job> = (0..7).map(|i| job("j", if i % 2 == 0 { &V } else { &w }, i / 2)).collect();
        let with = |batch: usize, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&g, &jobs, &MaximiseOptions { batch, steps: 6, ..options() }))
        };
        let wanted = with(1, 1);
        for (batch, threads) in [(3, 2), (7, 1), (7, 3)] {
            assert_eq!(with(batch, threads), wanted, "batch {batch}, {threads} threads");
        }
        assert_ne!(wanted[0].picture, wanted[2].picture, "other noise, another picture");
    }

    #[test]
    fn dead_units_are_diagnosed() {
        let dead = run(&graph(-1e4), &[job("v", &V, 0)], &options()).remove(0);
        assert_eq!(dead.diagnosis.as_deref(), Some("gradient is zero"));
        let never = [0.0, 0.0, -1.0, 0.0, 0.0, 0.0];
        let never = run(&graph(10.0), &[job("v", &never, 0)], &options()).remove(0);
        assert_eq!(never.diagnosis.as_deref(), Some("never active"));
        assert_eq!(run(&graph(0.0), &[job("v", &V, 0)], &options()).remove(0).diagnosis, None);
    }

    #[test]
    fn what_cannot_be_rendered_is_an_error_with_a_name() {
        let g = graph(0.0);
        let message = |jobs: &[Job]| maximise(&g, 2, jobs, &options(), Seed(1), |_| {}).unwrap_err().to_string();
        let short = message(&[job("stripes", &V[..5], 0)]);
        assert!(short.contains("`b`") && short.contains("`stripes`") && short.contains("wanted 6"), "{short}");
        let nan = message(&[job("fine", &V, 0), job("broken", &[f32::NAN; 6], 1)]);
        assert!(nan.contains("`b`") && nan.contains("`broken`") && nan.contains("seed 1"), "{nan}");
    }

    #[test]
    fn every_step_is_counted() {
        let mut count = 0;
        let jobs = [job("a", &V, 0), job("a", &V, 1), job("a", &V, 2), job("a", &V, 3)];
        let options = MaximiseOptions { steps: 2, ..options() };
        maximise(&graph(0.0), 2, &jobs, &options, Seed(1), |n| count += n).unwrap();
        assert_eq!(count, 8);
    }
}
