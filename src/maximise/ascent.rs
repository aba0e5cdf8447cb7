//! The ascent itself: many pictures at once, each towards its own objective.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;

use super::batch::{batches, seeds};
use super::diversity::{Likeness, applies};
use super::job::{Job, Start};
use super::optimiser::Optimiser;
use super::options::MaximiseOptions;
use super::painter::{Data, Painter};
use super::rendering::{Look, Planes, Rendering, Track};
use super::transform::Drawn;
use super::view::View;
use crate::error::{Error, Result};
use crate::model::graph::Graph;
use crate::seed::Seed;

/// Steps between two looks at the unshaken pictures.
const LOOK: usize = 8;

/// Renders every job, in the jobs' order. `done` is called after every step with the number of pictures that made it:
/// `jobs.len() * options.steps` in all. A job's result depends on the graph, the job, the options, the data's statistics and
/// the seed; the batch it is in and the number of threads change no byte.
///
/// # Errors
/// When an objective does not fit its layers, or a value stops being finite.
pub fn maximise(
    graph: &Graph,
    jobs: &[Job],
    options: &MaximiseOptions,
    data: &Data,
    seed: Seed,
    done: impl FnMut(usize) + Send,
) -> Result<Vec<Rendering>> {
    maximise_on(&Device::Cpu, graph, jobs, options, data, seed, done)
}

/// The same on the device that the graph's weights are on.
///
/// # Errors
/// Those of [`maximise`], or when the graph is on another device.
pub fn maximise_on(
    device: &Device,
    graph: &Graph,
    jobs: &[Job],
    options: &MaximiseOptions,
    data: &Data,
    seed: Seed,
    done: impl FnMut(usize) + Send,
) -> Result<Vec<Rendering>> {
    options.check()?;
    let done = Mutex::new(done);
    let mut renderings = Vec::with_capacity(jobs.len());
    // Pictures that go through the network together end at the same layers.
    for alike in jobs.chunk_by(|a, b| a.objective.nodes() == b.objective.nodes()) {
        let cut = Cut::new(graph, alike)?;
        if options.diversity > 0.0 {
            cut.check_diversity(&alike[0])?;
        }
        let painter = Painter::new(graph, device, cut.cell, options, data)?;
        for jobs in cut_up(alike, options, options.batch) {
            // What one thread does alone for some pictures, and the gaps of what it shares, are filled by others.
            let threads = if device.is_cpu() { rayon::current_num_threads() } else { 1 };
            let parts = cut_up(jobs, options, jobs.len().div_ceil(threads));
            let climb = |jobs: &&[Job]| Ascent::new(&cut, &painter, jobs, options, seed)?.climb(&done);
            for made in parts.par_iter().map(climb).collect::<Vec<_>>() {
                renderings.extend(made?);
            }
        }
    }
    Ok(renderings)
}

/// Pieces of at most `most` jobs, with seeds together that look at each other.
fn cut_up<'a>(jobs: &'a [Job], options: &MaximiseOptions, most: usize) -> Vec<&'a [Job]> {
    batches(jobs, most, options.diversity > 0.0, |job| &job.objective, |job| job.label.clone())
}

/// A network up to the layers that objectives read.
struct Cut<'a> {
    graph: &'a Graph,
    /// For the first steps: see [`Graph::redirecting`].
    redirecting: Graph,
    nodes: Vec<usize>,
    views: Vec<View>,
    /// Side of a cell of the finest layer's grid, in pixels of the input.
    cell: usize,
}

impl<'a> Cut<'a> {
    fn new(graph: &'a Graph, jobs: &[Job]) -> Result<Self> {
        let nodes = jobs.first().map(|job| job.objective.nodes()).unwrap_or_default();
        let views: Vec<View> = nodes.iter().map(|node| View::of(graph.layout(*node))).collect();
        let columns = views.iter().map(|v| v.grid[1]).max().unwrap_or(1);
        let cell = graph.input_shape()[2] / columns.max(1);
        let cut = Self { graph, redirecting: graph.redirecting(), nodes, views, cell };
        jobs.iter().try_for_each(|job| cut.check(job))?;
        Ok(cut)
    }

    fn check(&self, job: &Job) -> Result<()> {
        if job.objective.terms.is_empty() {
            return Err(self.failure(job, "its objective has no terms", "name a unit or a direction"));
        }
        for term in &job.objective.terms {
            let view = View::of(self.graph.layout(term.node));
            if let Some((got, wanted)) =
                term.reading.wanted(&view).filter(|(got, wanted)| got != wanted || *wanted == 0)
            {
                let layer = self.graph.layer_name(term.node);
                let problem = format!("the direction has {got} values, layer `{layer}` wants {wanted}");
                return Err(self.failure(job, &problem, "fit the probe on this layer of this model"));
            }
        }
        Ok(())
    }

    /// Whether a Gram matrix can be taken of what objectives read.
    fn check_diversity(&self, job: &Job) -> Result<()> {
        let hint = "leave maximise.diversity out, or name one layer with positions";
        match self.nodes.as_slice() {
            [node] if applies(self.graph.layout(*node)) => Ok(()),
            [_] => Err(self.failure(job, "the layer has a single position, and `diversity` compares over many", hint)),
            _ => Err(self.failure(job, "it reads several layers, and `diversity` compares pictures at one", hint)),
        }
    }

    fn failure(&self, job: &Job, problem: &str, hint: &str) -> Error {
        let names: Vec<&str> = self.nodes.iter().map(|node| self.graph.layer_name(*node)).collect();
        let subject = format!("layer `{}`, job `{}`, seed {}", names.join("`, `"), job.label, job.seed);
        Error::data(subject, problem, hint)
    }
}

/// One batch of jobs on its way.
struct Ascent<'a> {
    cut: &'a Cut<'a>,
    painter: &'a Painter,
    jobs: &'a [Job],
    options: &'a MaximiseOptions,
    seed: Seed,
    /// What all pictures are made of, one after the other.
    numbers: Vec<f32>,
    /// The pictures they began as, values in (0, 1).
    origin: Tensor,
    optimiser: Optimiser,
    tracks: Vec<Track>,
}

impl<'a> Ascent<'a> {
    fn new(
        cut: &'a Cut<'a>,
        painter: &'a Painter,
        jobs: &'a [Job],
        options: &'a MaximiseOptions,
        seed: Seed,
    ) -> Result<Self> {
        let each: usize = painter.numbers();
        let mut numbers = Vec::with_capacity(jobs.len() * each);
        for job in jobs {
            match &job.start {
                None => numbers.extend(painter.start(seed, &format!("maximise noise {}", job.seed))),
                Some(Start::Picture(picture)) => numbers.extend(painter.numbers_of(picture)?),
                Some(Start::Numbers(start)) if start.len() == each => numbers.extend(start),
                Some(Start::Numbers(start)) => {
                    let problem = format!("it starts from {} numbers, wanted {each}", start.len());
                    return Err(cut.failure(job, &problem, "start from numbers of the same parameterisation"));
                }
            }
        }
        let origin = painter.picture(&painter.plain(&painter.tensor(&numbers, jobs.len())?)?)?;
        let optimiser = Optimiser::new(options.optimiser, numbers.len(), each, options.learning_rate);
        let tracks = jobs.iter().map(|_| Track::default()).collect();
        Ok(Self { cut, painter, jobs, options, seed, numbers, origin, optimiser, tracks })
    }

    /// All steps, with a look at the pictures now and then.
    fn climb(mut self, done: &Mutex<impl FnMut(usize)>) -> Result<Vec<Rendering>> {
        for step in 0..self.options.steps {
            if step % LOOK == 0 {
                self.look(step)?;
            }
            self.step(step)?;
            done.lock().unwrap_or_else(PoisonError::into_inner)(self.jobs.len());
        }
        self.look(self.options.steps)?;
        Ok(self.finish().collect())
    }

    /// One step on all pictures. All tensors of the step are dropped at its end, and their graph with them.
    fn step(&mut self, step: usize) -> Result<()> {
        let numbers = Var::from_tensor(&self.painter.tensor(&self.numbers, self.jobs.len())?)?;
        let plain = self.painter.plain(&numbers)?;
        let (drawn, names) = self.draw(step);
        let picture = self.painter.unshaken(&plain)?;
        let unshaken = Var::from_tensor(&picture.detach())?;
        let input = self.painter.shaken(&unshaken, &drawn, &names, self.seed)?;
        let graph = if step < self.options.redirect { &self.cut.redirecting } else { self.cut.graph };
        let likeness = self.likeness(&input)?;
        let mut tracks = std::mem::take(&mut self.tracks);
        let slope = graph.pull_back_sum(&self.cut.nodes, &input, |first, z| {
            let mut slopes = self.evaluate(first, z, &mut tracks)?;
            if let (Some(likeness), [slope]) = (&likeness, slopes.as_mut_slice()) {
                *slope = (&*slope - likeness.narrow(0, first, slope.dim(0)?)?)?;
            }
            Ok(slopes)
        });
        self.tracks = tracks;
        // The gradient of `<slope, input>`, slope held fixed, is that of the objectives: first to the pictures, then on to what
        // they are made of.
        let to_picture = (input * slope?)?.sum_all()?.backward()?.remove(&unshaken);
        let to_picture = to_picture.map_or_else(|| unshaken.zeros_like(), Ok)?;
        self.notice(&to_picture)?;
        let mut goal = (picture * to_picture)?.sum_all()?;
        if self.options.penalties.any() {
            goal = (goal - self.options.penalties.of(&self.painter.picture(&plain)?, &self.origin)?)?;
        }
        let gradients = goal.backward()?;
        let gradient = match gradients.get(&numbers) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; self.numbers.len()],
        };
        self.inspect(&gradient)?;
        self.optimiser.ascend(&mut self.numbers, &gradient);
        Ok(())
    }

    /// What happens to every copy of every picture in one step, and the names of the streams that say so.
    fn draw(&self, step: usize) -> (Vec<Drawn>, Vec<String>) {
        let copies = self.jobs.iter().flat_map(|job| (0..self.options.crops).map(move |copy| (job, copy)));
        let of_copy = |(job, copy): (&Job, usize)| {
            let name = format!("maximise transform {} {step} {copy}", job.seed);
            let transforms = self.options.transforms.bound(job.objective.is_bound_to_positions());
            (transforms.draw(self.painter.frame(), self.seed, &name), name)
        };
        copies.map(of_copy).unzip()
    }

    /// What the slope of every copy's activation loses by the likeness of an objective's seeds: each copy is held against the
    /// same copy of the other seeds. They are looked at before the way back, which may take a few pictures at a time.
    fn likeness(&self, input: &Tensor) -> Result<Option<Tensor>> {
        let (true, &[node]) = (self.options.diversity > 0.0, self.cut.nodes.as_slice()) else { return Ok(None) };
        let (crops, layout) = (self.options.crops, self.cut.graph.layout(node));
        let z = self.cut.graph.forward(&input.detach(), &[node])?.remove(0);
        let mut slopes: Vec<Tensor> =
            (0..z.dim(0)?).map(|i| z.narrow(0, i, 1)?.zeros_like()).collect::<Result<_, _>>()?;
        for seeds in seeds(self.jobs, |job| job.label.clone()).into_iter().filter(|seeds| seeds.len() > 1) {
            for copy in 0..crops {
                let places: Vec<usize> = seeds.clone().map(|i| i * crops + copy).collect();
                let own: Vec<Tensor> = places.iter().map(|i| z.narrow(0, *i, 1)).collect::<Result<_, _>>()?;
                let likeness = Likeness::of(&Tensor::cat(&own, 0)?, layout)?;
                let slope = (likeness.slope * (self.options.diversity / crops as f64))?;
                for (i, place) in places.into_iter().enumerate() {
                    slopes[place] = slope.narrow(0, i, 1)?;
                }
            }
        }
        Ok(Some(Tensor::cat(&slopes, 0)?))
    }

    /// Notes the objectives of the copies from `first` on, and returns the gradients of their activations, one tensor a
    /// node. A copy has its share of the picture's objective.
    fn evaluate(&self, first: usize, z: &[Tensor], tracks: &mut [Track]) -> Result<Vec<Tensor>> {
        let crops = self.options.crops;
        let count = z.first().map_or(Ok(0), |z| z.dim(0))?;
        let mut totals = vec![0.0; count];
        let mut slopes = Vec::with_capacity(z.len());
        for ((node, view), z) in self.cut.nodes.iter().zip(&self.cut.views).zip(z) {
            let values = z.flatten_all()?.to_vec1::<f32>()?;
            let mut slope = vec![0f32; values.len()];
            let copies = values.par_chunks_exact(view.values).zip(slope.par_chunks_exact_mut(view.values));
            copies.zip(totals.par_iter_mut()).enumerate().for_each(|(i, ((z, slope), total))| {
                *total += self.jobs[(first + i) / crops].objective.evaluate(*node, view, z, slope);
                if crops > 1 {
                    slope.iter_mut().for_each(|s| *s /= crops as f32);
                }
            });
            slopes.push(Tensor::from_vec(slope, z.dims(), z.device())?);
        }
        for (i, total) in totals.into_iter().enumerate() {
            let (job, copy) = ((first + i) / crops, (first + i) % crops);
            if !total.is_finite() {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.cut.failure(&self.jobs[job], "the objective is not a finite number", hint));
            }
            tracks[job].note(copy, (total / crops as f64) as f32);
        }
        Ok(slopes)
    }

    /// Notes where pictures matter, from the gradient at the network's inputs.
    fn notice(&mut self, gradient: &Tensor) -> Result<()> {
        let values = gradient.flatten_all()?.to_vec1::<f32>()?;
        let each = values.chunks_exact(values.len() / self.jobs.len());
        for (track, gradient) in self.tracks.iter_mut().zip(each) {
            track.notice(gradient, self.painter.level());
        }
        Ok(())
    }

    /// Checks the gradients, and notes which are zero.
    fn inspect(&mut self, gradient: &[f32]) -> Result<()> {
        let pictures = gradient.chunks_exact(gradient.len() / self.jobs.len());
        for ((gradient, track), job) in pictures.zip(&mut self.tracks).zip(self.jobs) {
            if !gradient.iter().all(|g| g.is_finite()) {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.cut.failure(job, "the gradient is not finite", hint));
            }
            track.moved |= gradient.iter().any(|g| *g != 0.0);
        }
        Ok(())
    }

    /// Scores the pictures as they are, unshaken, after `step` steps.
    fn look(&mut self, step: usize) -> Result<()> {
        let plain = self.painter.plain(&self.painter.tensor(&self.numbers, self.jobs.len())?)?;
        let z = self.cut.graph.forward(&self.painter.unshaken(&plain)?, &self.cut.nodes)?;
        let z = z.iter().map(|z| Ok(z.flatten_all()?.to_vec1::<f32>()?)).collect::<Result<Vec<_>>>()?;
        let pixels = self.painter.picture(&plain)?.flatten_all()?.to_vec1::<f32>()?;
        let shape = self.cut.graph.input_shape();
        for (i, pixels) in pixels.chunks_exact(shape.iter().product()).enumerate() {
            let own = self.cut.nodes.iter().zip(&self.cut.views).zip(&z);
            let of_node = |((node, view), z): ((&usize, &View), &Vec<f32>)| {
                self.jobs[i].objective.score(*node, view, &z[i * view.values..(i + 1) * view.values])
            };
            let score = own.map(of_node).sum::<f64>();
            if !score.is_finite() {
                let hint = "lower maximise.learning_rate, or check the model's weights";
                return Err(self.cut.failure(&self.jobs[i], "the score is not a finite number", hint));
            }
            self.tracks[i].see(Look { step, score, picture: Planes { shape, values: pixels.to_vec() } });
        }
        Ok(())
    }

    fn finish(self) -> impl Iterator<Item = Rendering> {
        self.tracks.into_iter().filter_map(Track::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::preprocess::{Filter, Preprocess};
    use crate::maximise::objective::{Objective, Reading, Term};
    use crate::maximise::optimiser::OptimiserKind;
    use crate::maximise::options::Colours;
    use crate::maximise::parameter::ParameterKind;
    use crate::maximise::penalty::Penalties;
    use crate::maximise::reader::Reader;
    use crate::maximise::transform::{Preset, Transforms};
    use crate::metric::maximisation::diversity;
    use crate::model::graph::{GraphBuilder, Op};
    use crate::ops::check::random;
    use crate::ops::{Activation, Conv2d, Padding};
    use crate::probe::Variant;
    use candle_core::DType;
    use proptest::collection::vec;
    use proptest::prelude::*;

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
        let objective = Objective::direction(2, direction.to_vec(), TI, 0.0);
        Job { label: label.into(), objective, seed, start: None }
    }

    fn options() -> MaximiseOptions {
        MaximiseOptions { steps: 20, batch: 3, ..MaximiseOptions::default() }
    }

    fn run(graph: &Graph, jobs: &[Job], options: &MaximiseOptions) -> Vec<Rendering> {
        maximise(graph, jobs, options, &Data::default(), Seed(7), |_| {}).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn a_picture_has_numbers_that_give_it_back(picture in vec(0.02f32..0.98, 768), kind in 0..3usize) {
            let g = graph(0.0);
            let parameter = [ParameterKind::Fourier, ParameterKind::Pixel, ParameterKind::Laplacian][kind];
            for colours in [Colours::Natural, Colours::None] {
                let options = MaximiseOptions { parameter, colours, ..options() };
                let painter = Painter::new(&g, &Device::Cpu, 2, &options, &Data::default()).unwrap();
                let numbers = painter.tensor(&painter.numbers_of(&picture).unwrap(), 1).unwrap();
                let back = painter.picture(&painter.plain(&numbers).unwrap()).unwrap();
                let back = back.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                prop_assert!(back.iter().zip(&picture).all(|(a, b)| (a - b).abs() < 1e-3));
            }
        }
    }

    /// Sixteen by sixteen pixels that are not grey.
    fn photograph() -> Vec<f32> {
        (0..768).map(|i| 0.5 + 0.3 * ((i % 16) as f32 * 0.4 + (i / 16) as f32 * 0.3).sin()).collect()
    }

    fn from(picture: &[f32], objective: Objective) -> Job {
        Job { objective, start: Some(Start::Picture(picture.to_vec())), ..job("p", &V, 0) }
    }

    #[test]
    fn a_heavier_weight_of_nearness_keeps_a_picture_nearer() {
        let (g, photograph) = (graph(0.0), photograph());
        let job = [from(&photograph, Objective::direction(2, V.to_vec(), TI, 0.0))];
        let distance = |near: f64| {
            let penalties = Penalties { near, ..Penalties::default() };
            let options = MaximiseOptions { penalties, transforms: Transforms::NONE, ..options() };
            let out = run(&g, &job, &options).remove(0);
            assert!(out.trace[19] > out.trace[0], "{near}: {:?}", out.trace);
            let map = out.picture.change(&photograph);
            map.values.iter().sum::<f32>()
        };
        let distances = [0.0, 3.0, 30.0].map(distance);
        assert!(distances[0] > distances[1] && distances[1] > distances[2], "{distances:?}");
    }

    #[test]
    fn a_caricature_says_more_of_what_its_picture_says() {
        let (g, photograph) = (graph(0.0), photograph());
        let input: Vec<f32> = photograph.iter().map(|v| (v - 0.5) / 0.25).collect();
        let input = Tensor::from_vec(input, (1, 3, 16, 16), &Device::Cpu).unwrap();
        let z = g.forward(&input, &[2]).unwrap()[0].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let norm = z.iter().map(|z| z * z).sum::<f32>().sqrt();
        for power in [0.0, 1.0] {
            let objective = Objective::like(2, &z, power);
            let begun = Job { start: None, ..from(&photograph, objective.clone()) };
            let options = MaximiseOptions { transforms: Transforms::NONE, ..options() };
            let out = run(&g, &[from(&photograph, objective), begun], &options);
            assert!((out[0].trace[0] - norm).abs() < 2e-2 * norm, "{} {norm}", out[0].trace[0]);
            assert!(out[0].final_score > 1.1 * norm, "{power}: {} {norm}", out[0].final_score);
            assert!(out[1].trace[19] > out[1].trace[0]);
        }
        let nothing = from(&photograph, Objective::like(2, &vec![0.0; z.len()], 2.0));
        assert_eq!(run(&g, &[nothing], &options())[0].diagnosis.as_deref(), Some("gradient is zero"));
        let short = from(&photograph, Objective::like(2, &z[1..], 0.0));
        let failed = maximise(&g, &[short], &options(), &Data::default(), Seed(1), |_| {});
        assert!(failed.unwrap_err().to_string().contains("wants 384"));
    }

    #[test]
    fn what_cannot_start_from_a_picture_says_so() {
        let g = graph(0.0);
        let message = |start: Vec<f32>, options: MaximiseOptions, data: Data| {
            let jobs = [Job { start: Some(Start::Picture(start)), ..job("v", &V, 0) }];
            maximise(&g, &jobs, &options, &data, Seed(1), |_| {}).unwrap_err().to_string()
        };
        let cppn = MaximiseOptions { parameter: ParameterKind::Cppn, ..options() };
        assert!(message(vec![0.5; 768], cppn, Data::default()).contains("maximise.parameter"));
        assert!(message(vec![0.5; 3], options(), Data::default()).contains("768"));
        let same = Data { covariance: Some(vec![1.0; 9]), spectrum: None };
        let fitted = MaximiseOptions { colours: Colours::Data, ..options() };
        let message = message(vec![0.5; 768], fitted, same);
        assert!(message.contains("maximise.colours"), "{message}");
    }

    const V: [f32; 6] = [0.5, -0.5, 0.5, 0.0, 0.0, 0.5];

    #[test]
    fn the_objective_rises_and_its_opposite_lowers_it() {
        let g = graph(0.0);
        let opposite = V.map(|v| -v);
        for transforms in [Preset::Lucid, Preset::Small, Preset::None].map(Transforms::Named) {
            for cosine_power in [0.0, 2.0] {
                let options = MaximiseOptions { transforms: transforms.clone(), ..options() };
                let of = |label: &str, v: &[f32]| {
                    let objective = Objective::direction(2, v.to_vec(), TI, cosine_power);
                    Job { objective, ..job(label, v, 0) }
                };
                let out = run(&g, &[of("v", &V), of("-v", &opposite)], &options);
                let (first, last) = (out[0].trace[0], out[0].trace[19]);
                assert!(last > first + 0.1 * first.abs(), "{transforms:?} {cosine_power}: {:?}", out[0].trace);
                assert!(-out[1].final_score < out[0].final_score, "{transforms:?} {cosine_power}");
                assert!(out[1].trace[19] > out[1].trace[0]);
                assert_eq!(out[0].trace.len(), 20);
                assert!(out[0].best_score >= out[0].final_score && out[0].best_step <= 20);
                assert_eq!(out[0].picture.shape, [3, 16, 16]);
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
        let objective = Objective::direction(2, direction, Variant::Full, 0.0);
        let full = Job { label: "full".into(), objective, seed: 0, start: None };
        let options = MaximiseOptions { transforms: Transforms::NONE, ..options() };
        let out = run(&graph(3.0), &[full, job("ti", &V, 0)], &options);
        assert!(out[0].final_score > out[0].trace[0], "{:?}", out[0].trace);
        // Pixels far from the cell's window are not asked for and stay the noise's grey.
        let picture = out[0].picture.image();
        let spread = |x: u32, y: u32| picture.get_pixel(x, y).0.map(|v| v.abs_diff(128)).into_iter().max();
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
    fn diverse_pictures_differ_more_and_know_only_their_own_seeds() {
        let g = graph(0.0);
        let seeds = |label: &str, v: &[f32]| [0, 1, 2].map(|seed| job(label, v, seed));
        let options = |diversity| MaximiseOptions { diversity, steps: 40, transforms: Transforms::NONE, ..options() };
        let spread = |out: &[Rendering]| {
            let inputs: Vec<f32> = out.iter().flat_map(|r| r.picture.values.iter().map(|v| (v - 0.5) / 0.25)).collect();
            let seen = Reader::new(&g, &Device::Cpu, 8, Vec::new(), vec![2]).see(&inputs).unwrap();
            diversity(&seen.into_iter().map(|mut seen| seen.means.remove(0)).collect::<Vec<_>>())
        };
        let (alone, diverse) = (run(&g, &seeds("v", &V), &options(0.0)), run(&g, &seeds("v", &V), &options(20.0)));
        assert!(spread(&diverse) > 1.5 * spread(&alone), "{} {}", spread(&diverse), spread(&alone));
        // A batch of two grows to three; one of five holds an objective whole, or not at all.
        let others = [seeds("-v", &V.map(|v| -v)), seeds("v", &V)].concat();
        for batch in [2, 5, 6] {
            let out = run(&g, &others, &MaximiseOptions { batch, ..options(20.0) });
            assert_eq!(out[3..], diverse, "batch {batch}");
        }
        let sizes = |batch| cut_up(&others, &options(1.0), batch).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!([sizes(1), sizes(5), sizes(6)], [vec![3, 3], vec![3, 3], vec![6]]);
    }

    #[test]
    fn diversity_over_several_layers_says_so() {
        let g = graph(0.0);
        let options = MaximiseOptions { diversity: 1.0, ..options() };
        let mut both = job("both", &V, 0);
        both.objective.terms.push(Term { weight: 1.0, node: 1, reading: Reading::Norm(0..2) });
        let message = maximise(&g, &[both], &options, &Data::default(), Seed(1), |_| {}).unwrap_err().to_string();
        assert!(message.contains("several layers") && message.contains("maximise.diversity"), "{message}");
    }

    #[test]
    fn a_picture_is_seen_through_where_it_does_not_matter() {
        let mut direction = vec![0.0; 6 * 64];
        direction[2 * 64 + 27] = 1.0;
        let objective = Objective::direction(2, direction, Variant::Full, 0.0);
        let options = MaximiseOptions { transforms: Transforms::NONE, ..options() };
        let out = run(&graph(3.0), &[Job { objective, ..job("full", &V, 0) }], &options).remove(0);
        let alpha = out.transparency.unwrap();
        assert_eq!(alpha.shape, [1, 16, 16]);
        let at = |x: usize, y: usize| alpha.values[16 * y + x];
        assert!(at(7, 7) > 0.1 && at(15, 0) == 0.0 && at(0, 15) == 0.0, "{alpha:?}");
        assert!(alpha.values.iter().all(|v| (0.0..=1.0).contains(v)) && alpha.values.contains(&1.0));
        assert_eq!(run(&graph(-1e4), &[job("dead", &V, 0)], &options)[0].transparency, None);
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
        let message =
            |jobs: &[Job]| maximise(&g, jobs, &options(), &Data::default(), Seed(1), |_| {}).unwrap_err().to_string();
        let short = message(&[job("stripes", &V[..5], 0)]);
        assert!(short.contains("`b`") && short.contains("`stripes`") && short.contains("wants 6"), "{short}");
        let nan = message(&[job("fine", &V, 0), job("broken", &[f32::NAN; 6], 1)]);
        assert!(nan.contains("`b`") && nan.contains("`broken`") && nan.contains("seed 1"), "{nan}");
    }

    #[test]
    fn every_step_is_counted() {
        let mut count = 0;
        let jobs = [job("a", &V, 0), job("a", &V, 1), job("a", &V, 2), job("a", &V, 3)];
        let options = MaximiseOptions { steps: 2, ..options() };
        maximise(&graph(0.0), &jobs, &options, &Data::default(), Seed(1), |n| count += n).unwrap();
        assert_eq!(count, 8);
    }

    #[test]
    fn sums_over_layers_climb_together() {
        let g = graph(0.0);
        let mean = |node: usize, channels: usize, weight: f64| Term {
            weight,
            node,
            reading: Reading::Mean {
                direction: (0..channels).map(|c| f32::from(u8::from(c == 1))).collect(),
                power: 0.0,
            },
        };
        let objective = Objective { terms: vec![mean(2, 6, 1.0), mean(1, 8, -0.5)] };
        let both = Job { label: "both".into(), objective, seed: 0, start: None };
        let out = run(&g, &[job("v", &V, 0), both.clone(), job("v", &V, 1)], &options());
        assert!(out[1].final_score > f64::from(out[1].trace[0]) as f32, "{:?}", out[1].trace);
        assert_eq!(run(&g, &[both], &options())[0], out[1], "other jobs change nothing");
    }

    #[test]
    fn every_parameterisation_and_rule_climbs() {
        let g = graph(0.0);
        let kinds = [ParameterKind::Fourier, ParameterKind::Pixel, ParameterKind::Laplacian, ParameterKind::Cppn];
        let rules = [OptimiserKind::Adam, OptimiserKind::Nadam, OptimiserKind::Sgd];
        for parameter in kinds {
            for optimiser in rules {
                let base = MaximiseOptions { transforms: Transforms::NONE, learning_rate: 0.02, ..options() };
                let options = MaximiseOptions { optimiser, parameter, ..base };
                let out = run(&g, &[job("v", &V, 0)], &options).remove(0);
                assert!(out.final_score > out.trace[0], "{parameter:?} {optimiser:?}: {:?}", out.trace);
            }
        }
    }

    #[test]
    fn copies_penalties_and_redirection_do_their_work() {
        let g = graph(0.0);
        let crops = MaximiseOptions { crops: 3, ..options() };
        let out = run(&g, &[job("v", &V, 0), job("v", &V, 1)], &crops);
        assert!(out.iter().all(|r| r.trace.len() == 20 && r.trace[19] > r.trace[0]));
        let still = MaximiseOptions { transforms: Transforms::NONE, ..options() };
        let calm = MaximiseOptions { penalties: Penalties { tv: 1e3, ..Penalties::default() }, ..still.clone() };
        let rough = |options: &MaximiseOptions| {
            let picture = run(&g, &[job("v", &V, 0)], options).remove(0).picture;
            picture.values.windows(2).map(|w| f64::from((w[1] - w[0]).abs())).sum::<f64>()
        };
        assert!(rough(&calm) < 0.5 * rough(&still));
        // A layer that is shut for the first picture opens when gradients pass.
        let dead = graph(-6.0);
        let lost = run(&dead, &[job("v", &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0)], &still).remove(0);
        assert_eq!(lost.diagnosis.as_deref(), Some("gradient is zero"));
        let opened = MaximiseOptions { redirect: 16, steps: 40, learning_rate: 0.3, ..still };
        let found = run(&dead, &[job("v", &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], 0)], &opened).remove(0);
        assert_ne!(found.diagnosis.as_deref(), Some("gradient is zero"));
    }

    #[test]
    fn an_ascent_goes_on_from_given_numbers() {
        let g = graph(0.0);
        let painter = Painter::new(&g, &Device::Cpu, 1, &options(), &Data::default()).unwrap();
        let start = painter.start(Seed(7), "maximise noise 0");
        let given = Job { start: Some(Start::Numbers(start)), ..job("v", &V, 0) };
        assert_eq!(run(&g, &[given], &options()), run(&g, &[job("v", &V, 0)], &options()));
        let short = Job { start: Some(Start::Numbers(vec![0.0; 3])), ..job("v", &V, 0) };
        let message = maximise(&g, &[short], &options(), &Data::default(), Seed(7), |_| {}).unwrap_err().to_string();
        assert!(message.contains("3 numbers"), "{message}");
    }
}
