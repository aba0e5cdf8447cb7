//! Segmentation-CAV whose loss is taken on enlarged maps.

use super::kind::{Earlier, ProbeKind};
use super::segmentation::{Masked, Scaling, choose, draw, masked_images, masks_for_channels, solution};
use super::task::{Outcome, Task};
use super::weighted::Weighted;
use crate::error::Result;
use crate::ops::resize::bilinear;

/// How many times finer than the layer's the grid is that the loss is taken on, along each side.
const FINER: usize = 4;

/// As `segmentation`, with the loss on the map of scores enlarged to four times as many cells a side, bilinearly, half-pixel
/// centres on each other: Net2Vec's order of things (Fong & Vedaldi 2018); the factor is ours. Enlarging is linear, so a cell
/// of the fine grid is a sample: a mix of four positions' activations, with that cell's coverage as its label.
pub struct SegmentationUpsampled;

impl ProbeKind for SegmentationUpsampled {
    fn name(&self) -> &'static str {
        "segmentation_upsampled"
    }

    fn about(&self) -> &'static str {
        "as segmentation, with the loss on the enlarged map; translation-invariant only"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let images = masks_for_channels(task)?;
        let scaling = Scaling::of(task, &images)?;
        let train = enlarged(task, &images, &scaling, "segmentation_upsampled/fit")?;
        let val = enlarged(task, &masked_images(task, task.val)?, &scaling, "segmentation_upsampled/val")?;
        let shared = choose(&task.options.lambda, &train, &val);
        Ok(solution(task, shared.v.iter().map(|v| v / scaling.scale).collect(), &shared))
    }
}

/// Cells of the fine grid, drawn by their coverage. Masks of that size are read one by one and not kept.
fn enlarged(task: &Task<'_>, images: &[Masked], scaling: &Scaling, stream: &str) -> Result<Weighted<f32>> {
    let [channels, height, width] = task.set.shape;
    let fine = (FINER * height, FINER * width);
    let labels = |image: &Masked| Ok((task.coverage)(image.row, fine)?.unwrap_or_default());
    let row = |map: &[f32], cell: usize, x: &mut Vec<f32>| {
        let (top, bottom, down) = bilinear(cell / fine.1, height, fine.0);
        let (left, right, across) = bilinear(cell % fine.1, width, fine.1);
        let mix = |a: f32, b: f32, share: f64| a + share as f32 * (b - a);
        x.extend(map.chunks_exact(height * width).take(channels).enumerate().map(|(c, z)| {
            let line = |y: usize| mix(z[y * width + left], z[y * width + right], across);
            scaling.apply(mix(line(top), line(bottom), down), c)
        }));
    };
    Ok(draw(task, images, stream, labels, row)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::resize::{Interpolation, resize};
    use crate::probe::Variant;
    use crate::probe::fixture::World;
    use candle_core::{Device, Tensor};

    #[test]
    fn rows_are_the_enlarged_maps_cells() {
        let shape = [3, 2, 3];
        let world = World::scaled(shape, 12, 6, Variant::TranslationInvariant, 1.0);
        world.with(|task| {
            let images = masked_images(task, task.fit).unwrap();
            let scaling = Scaling::of(task, &images).unwrap();
            let samples = enlarged(task, &images, &scaling, "test").unwrap();
            // All cells are drawn: there are fewer than asked for.
            assert_eq!(samples.len(), 12 * 96);
            let (mut wanted, mut got) = (Vec::new(), samples.x.clone());
            // Sums of values times labels, by channel: they hold rows to their labels, whatever the order.
            let (mut on_mask, mut labelled) = ([0.0; 3], [0.0; 3]);
            for (row, label) in samples.x.chunks_exact(3).zip(&samples.label) {
                labelled.iter_mut().zip(row).for_each(|(sum, z)| *sum += f64::from(z * label));
            }
            for image in &images {
                let map = Tensor::from_vec(task.set.map(image.sample).unwrap(), (1, 3, 2, 3), &Device::Cpu).unwrap();
                let large = resize(&map, (8, 12), Interpolation::Bilinear).unwrap().flatten_all().unwrap();
                let large = large.to_vec1::<f32>().unwrap();
                let fine = (task.coverage)(image.row, (8, 12)).unwrap().unwrap();
                for (i, z) in large.iter().enumerate() {
                    on_mask[i / 96] += f64::from(scaling.apply(*z, i / 96) * fine[i % 96]);
                }
                wanted.extend(large.iter().enumerate().map(|(i, z)| scaling.apply(*z, i / 96)));
            }
            // Cells of an image are drawn those on the mask first, and channel last: compare what was drawn as a whole.
            got.sort_by(f32::total_cmp);
            wanted.sort_by(f32::total_cmp);
            assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
            assert!(on_mask.iter().zip(&labelled).all(|(a, b)| (a - b).abs() < 1e-3), "{on_mask:?} {labelled:?}");
        });
    }
}
