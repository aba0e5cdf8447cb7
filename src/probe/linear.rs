//! Hyperplanes in a space's coordinates: their fit by a loss of the score, and the choice of their ridge.

use super::options::LambdaBy;
use super::space::Space;
use super::task::{Labelled, Offset, Outcome, Solution, Task, refused};
use super::weighted::Weighted;
use crate::error::{Error, Result};

/// A hyperplane in a space's coordinates: positive scores mean the concept.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Weights, one a coordinate.
    pub weights: Vec<f64>,
    /// Offset.
    pub bias: f64,
    /// Norm of the objective's gradient at the solution; NaN for closed forms.
    pub gradient_norm: f64,
}

impl Linear {
    /// The model as a solution.
    pub fn solution(self, lambda: f64, rows: &Labelled) -> Solution {
        let counts = (rows.positive.len(), rows.negative.len());
        let mut out = Solution::new(self.weights, Offset::Native(self.bias), counts);
        (out.lambda, out.gradient_norm) = (lambda, self.gradient_norm);
        out
    }
}

/// The labelled rows as samples, those of the concept first with label 1; each class has half of the weight. `name` says
/// what they are for.
///
/// # Errors
/// When a class has no rows.
pub fn samples(name: &str, space: &Space, rows: &Labelled) -> Result<Weighted<f64>> {
    let order = rows.positive.iter().chain(&rows.negative);
    let mut x = Vec::with_capacity((rows.positive.len() + rows.negative.len()) * space.dimension());
    order.for_each(|row| x.extend(space.x.row(*row)));
    labelled(name, rows, space.dimension(), x)
}

/// Values of labelled rows `[row, column]`, those of the concept first, with their labels; each class has half of the
/// weight.
///
/// # Errors
/// When a class has no rows.
pub fn labelled(name: &str, rows: &Labelled, columns: usize, x: Vec<f64>) -> Result<Weighted<f64>> {
    let counts = [rows.positive.len(), rows.negative.len()];
    if counts.contains(&0) {
        return Err(refusal(name, rows, "a class is empty"));
    }
    let n = counts[0] + counts[1];
    Ok(Weighted {
        columns,
        x,
        label: (0..n).map(|i| f32::from(u8::from(i < counts[0]))).collect(),
        weight: (0..n).map(|i| 0.5 / counts[usize::from(i >= counts[0])] as f64).collect(),
    })
}

/// Minimises the mean of `loss` over the labelled rows plus `lambda/2 |w|^2` for every lambda, each from the last one's
/// solution on. `loss` gives value and slope for a score and its label, 1 for the concept and 0 without it; its curvature
/// must not be far from a quarter.
///
/// # Errors
/// When a class has no rows, or values are not finite.
pub fn path(
    name: &str,
    space: &Space,
    rows: &Labelled,
    lambdas: &[f64],
    loss: impl Fn(f64, f64) -> (f64, f64),
) -> Result<Vec<Linear>> {
    let samples = samples(name, space, rows)?;
    let columns = samples.columns;
    let mut start = vec![0.0; columns + 1];
    let fit = |lambda: &f64| {
        let bound = space.bound(*lambda);
        // The inverse of the bound in the coordinates, and of a quarter for the offset: all fitted rows have mean zero.
        let precondition = |gradient: &mut [f64]| {
            bound.solve(gradient);
            gradient.last_mut().into_iter().for_each(|bias| *bias *= 4.0);
        };
        let end = samples.fit_by(&loss, std::mem::take(&mut start), *lambda, precondition);
        if !end.gradient_norm.is_finite() {
            return Err(refusal(name, rows, "it does not end in finite numbers"));
        }
        start.clone_from(&end.x);
        let (weights, bias) = end.x.split_at(columns);
        Ok(Linear { weights: weights.to_vec(), bias: bias[0], gradient_norm: end.gradient_norm })
    };
    lambdas.iter().map(fit).collect()
}

fn refusal(name: &str, rows: &Labelled, problem: &str) -> Error {
    let subject = format!("{name} of {} against {}", rows.positive.len(), rows.negative.len());
    let hint = "the concept needs samples with and without it in the fit split, and finite activations";
    Error::data(subject, problem.to_owned(), hint)
}

/// Chooses a lambda of the study's by the least loss on rows a fit has not seen, and fits it to all of `rows`. `path` fits
/// a list of lambdas, the strongest first; `loss` is that of the margin: the score with the sign of the label.
///
/// # Errors
/// When the solver refuses its data; a refusal where the rows cannot be cut into folds.
pub fn choose(
    task: &Task<'_>,
    rows: &Labelled,
    path: impl Fn(&Labelled, &[f64]) -> Result<Vec<Linear>>,
    loss: impl Fn(f64) -> f64,
) -> Outcome {
    let mut grid = task.options.lambda.clone();
    grid.sort_by(|a, b| b.total_cmp(a));
    let losses = |models: &[Linear], rows: &Labelled| -> Vec<f64> {
        models.iter().map(|model| balanced_loss(task.space, rows, model, &loss)).collect()
    };
    if task.options.lambda_by == LambdaBy::Validation {
        let mut models = path(rows, &grid)?;
        let best = least(&losses(&models, task.val));
        return Ok(models.swap_remove(best).solution(grid[best], rows));
    }
    let folds = task.folds(rows, "lambda/folds");
    if folds.len() < 2 {
        return refused(
            "its samples lie in too few blocks to choose a lambda by folds: set probe.lambda_by = \"validation\"",
        );
    }
    let mut total = vec![0.0; grid.len()];
    for (rest, held_out) in &folds {
        let models = path(rest, &grid)?;
        total.iter_mut().zip(losses(&models, held_out)).for_each(|(total, loss)| *total += loss);
    }
    let lambda = grid[least(&total)];
    Ok(path(rows, &[lambda])?.swap_remove(0).solution(lambda, rows))
}

/// Where the least value stands; the first of equal ones.
fn least(values: &[f64]) -> usize {
    (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0)
}

/// Mean loss of the margin over the classes, each class with weight one half.
fn balanced_loss(space: &Space, rows: &Labelled, model: &Linear, loss: impl Fn(f64) -> f64) -> f64 {
    let mean = |rows: &[usize], sign: f64| {
        let total: f64 = rows.iter().map(|r| loss(sign * space.score(*r, &model.weights, model.bias))).sum();
        total / rows.len().max(1) as f64
    };
    0.5 * (mean(&rows.positive, 1.0) + mean(&rows.negative, -1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::logistic;
    use crate::probe::task::Unsolved;

    #[test]
    fn folds_keep_blocks_whole_and_hold_every_row_out_once() {
        World::new([6, 2, 2], 60, 25).with(|task| {
            let blocks: Vec<usize> = task.blocks.iter().map(|row| row / 4).collect();
            let task = Task { blocks: &blocks, ..*task };
            let folds = task.folds(task.fit, "test");
            let all = |rows: &Labelled| [rows.positive.as_slice(), &rows.negative].concat();
            let mut held_out: Vec<usize> = folds.iter().flat_map(|(_, out)| all(out)).collect();
            held_out.sort_unstable();
            assert_eq!(held_out, (0..60).collect::<Vec<_>>());
            for (rest, out) in &folds {
                assert_eq!(all(rest).len() + all(out).len(), 60);
                assert!(all(out).iter().all(|row| all(rest).iter().all(|other| blocks[*row] != blocks[*other])));
            }
        });
    }

    #[test]
    fn a_lambda_chosen_by_folds_is_that_of_the_least_loss_out_of_fold() {
        let mut world = World::new([6, 2, 2], 60, 30);
        world.options.lambda = vec![1e-3, 1e-1, 10.0];
        world.options.lambda_by = LambdaBy::Folds;
        world.with(|task| {
            let path = |rows: &Labelled, lambdas: &[f64]| logistic::path(task.space, rows, lambdas);
            let loss = |margin: f64| logistic::softplus(-margin);
            let chosen = choose(task, task.fit, path, loss).unwrap();
            let out_of_fold = |lambda: f64| {
                let fold = |(rest, out): &(Labelled, Labelled)| {
                    balanced_loss(task.space, out, &logistic::fit(task.space, rest, lambda).unwrap(), loss)
                };
                task.folds(task.fit, "lambda/folds").iter().map(fold).sum::<f64>()
            };
            let losses: Vec<f64> = task.options.lambda.iter().map(|lambda| out_of_fold(*lambda)).collect();
            assert_eq!(chosen.lambda, task.options.lambda[least(&losses)], "{losses:?}");
            let wanted = logistic::fit(task.space, task.fit, chosen.lambda).unwrap();
            let off = chosen.coordinates().unwrap().iter().zip(&wanted.weights).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 1e-7);

            let one_clip = Task { blocks: &vec![0; task.blocks.len()], ..*task };
            let Err(Unsolved::Refused(reason)) = choose(&one_clip, task.fit, path, loss) else { panic!("no refusal") };
            assert!(reason.contains("blocks") && reason.contains("probe.lambda_by"), "{reason}");
        });
    }
}
