//! The control of TCAV (Kim et al. 2018): a classifier between two random sets of samples without the concept.

use rand::seq::SliceRandom;

use super::kind::{Earlier, ProbeKind, needed};
use super::logistic;
use super::task::{Labelled, Outcome, Task, refused};

/// The classifier between two halves of the negatives, as many as the classifier's own classes where there are enough.
/// Its lambda is the classifier's: no validation sample has a label to choose one by.
pub struct RandomSet;

impl ProbeKind for RandomSet {
    fn name(&self) -> &'static str {
        "random_set"
    }

    fn about(&self) -> &'static str {
        "null: the classifier between two random sets of samples without the concept"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["classifier"]
    }

    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome {
        let reference = needed(earlier, "classifier")?;
        let rows = sets(task, reference.counts.0, "random_set/sets").or_else(refused)?;
        let model = logistic::fit(task.space, &rows, reference.lambda)?;
        Ok(model.solution(reference.lambda, &rows))
    }
}

/// Two random sets of negatives without a sample in common, of `count` each where there are enough, drawn from the stream
/// `name`.
///
/// # Errors
/// Why there are none.
pub fn sets(task: &Task<'_>, count: usize, name: &str) -> Result<Labelled, String> {
    let mut rows = task.fit.negative.clone();
    let (found, wanted) = (rows.len(), 2 * task.options.min_samples);
    if found < wanted {
        return Err(format!("{found} samples without the concept to make two sets of, at least {wanted} wanted"));
    }
    rows.shuffle(&mut task.stream(name));
    let count = count.min(rows.len() / 2);
    let mut halves = [rows[..count].to_vec(), rows[count..2 * count].to_vec()];
    halves.iter_mut().for_each(|half| half.sort_unstable());
    let [positive, negative] = halves;
    Ok(Labelled { positive, negative })
}
