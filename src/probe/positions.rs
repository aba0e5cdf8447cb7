//! Every position a sample, with the label of its image.

use super::kind::{Earlier, ProbeKind};
use super::segmentation::{Masked, fit_images, linear_form};
use super::task::{Labelled, Outcome, Task};

/// As `segmentation`, with the image's label in the place of the mask's coverage (multiple-instance labels, most of them
/// wrong where the concept is small; our definition). No mask is needed.
pub struct Positions;

impl ProbeKind for Positions {
    fn name(&self) -> &'static str {
        "positions"
    }

    fn about(&self) -> &'static str {
        "logistic regression of every position on its image's label"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        linear_form(task)?;
        fit_images(task, &labelled(task, task.fit), &labelled(task, task.val), "positions")
    }
}

/// Images whose cells all have the image's label, in the order of their rows.
fn labelled(task: &Task<'_>, rows: &Labelled) -> Vec<Masked> {
    let image = |row: &usize, label| Masked {
        sample: task.space.samples[*row],
        row: *row,
        coverage: vec![label; task.set.positions()],
    };
    let positive = rows.positive.iter().map(|row| image(row, 1.0));
    let mut images: Vec<Masked> = positive.chain(rows.negative.iter().map(|row| image(row, 0.0))).collect();
    images.sort_unstable_by_key(|image| image.row);
    images
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::segmentation::{Scaling, gather};

    #[test]
    fn classes_weigh_alike_and_every_position_has_its_images_label() {
        let world = World::new([3, 2, 2], 30, 10);
        world.with(|task| {
            let images = labelled(task, task.fit);
            assert!(images.windows(2).all(|pair| pair[0].row < pair[1].row));
            let scaling = Scaling::of(task, &images).unwrap();
            let samples = gather(task, &images, &scaling, "test").unwrap();
            assert_eq!(samples.len(), 30 * 4);
            let weight = |label| {
                samples.label.iter().zip(&samples.weight).filter(|(l, _)| **l == label).map(|s| s.1).sum::<f64>()
            };
            assert!((weight(1.0) - 0.5).abs() < 1e-12 && (weight(0.0) - 0.5).abs() < 1e-12);
        });
    }
}
