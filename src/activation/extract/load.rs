//! The network's input, made ready while the network works on what came before.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};

use rayon::prelude::*;

use crate::activation::plan::{Change, Item};
use crate::dataset::view::whereabouts;
use crate::dataset::{Dataset, Picture, Preprocess};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Makes network input of items.
pub(super) struct Loader<'a> {
    pub(super) dataset: &'a dyn Dataset,
    pub(super) preprocess: &'a Preprocess,
    /// The study's seed, for views with noise.
    pub(super) seed: u64,
    /// Values of one input.
    pub(super) size: usize,
}

/// The inputs of batches, in order.
pub(super) struct Inputs(Receiver<Result<Vec<f32>>>);

impl Inputs {
    /// The next batch: its items' inputs, one after the other.
    ///
    /// # Errors
    /// When one of its pictures could not be made, or there is no further batch.
    pub(super) fn next(&self) -> Result<Vec<f32>> {
        self.0.recv().map_err(|_| Error::Failure("the pictures of a batch were not loaded".into()))?
    }
}

impl Loader<'_> {
    /// Runs `consume` on this thread while another one makes the batches, in order. It is at most one batch ahead: the
    /// pictures of two are in memory. The first that cannot be made ends it.
    ///
    /// # Errors
    /// Those of `consume`.
    pub(super) fn ahead<T>(&self, batches: &[&[Item]], consume: impl FnOnce(Inputs) -> Result<T>) -> Result<T> {
        std::thread::scope(|scope| {
            let (to, from) = sync_channel(0);
            scope.spawn(move || {
                for items in batches {
                    let input = self.input(items);
                    let failed = input.is_err();
                    // Nobody takes a batch any more once the network has failed.
                    if to.send(input).is_err() || failed {
                        break;
                    }
                }
            });
            consume(Inputs(from))
        })
    }

    /// The network's input for every item, one after the other; items of one sample share its decoding.
    pub(super) fn input(&self, items: &[Item]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; items.len() * self.size];
        let mut groups: BTreeMap<usize, Vec<(&Item, &mut [f32])>> = BTreeMap::new();
        for (item, slot) in items.iter().zip(out.chunks_exact_mut(self.size)) {
            groups.entry(item.sample).or_default().push((item, slot));
        }
        let groups: Vec<_> = groups.into_iter().collect();
        groups.into_par_iter().try_for_each(|(sample, slots)| -> Result<()> {
            let mut plain: Option<Picture> = None;
            for (item, slot) in slots {
                let picture = self.picture(sample, item, &mut plain)?;
                self.preprocess.normalise(&picture, slot);
            }
            Ok(())
        })?;
        Ok(out)
    }

    fn picture(&self, sample: usize, item: &Item, plain: &mut Option<Picture>) -> Result<Picture> {
        if let Change::Edit(concept, edit) = &item.change {
            let image = self.dataset.edited(sample, *concept, *edit)?.ok_or_else(|| {
                let name = &self.dataset.samples()[sample].name;
                Error::Failure(format!("sample `{name}` cannot be edited ({edit:?})"))
            })?;
            return self.preprocess.picture(&image);
        }
        let base = match plain.take() {
            Some(base) => base,
            None => self.preprocess.picture(&self.dataset.image(sample)?)?,
        };
        let picture = match &item.change {
            Change::View(view) => {
                let masks = if view.sees_masks() { whereabouts(self.dataset, sample, self.preprocess)? } else { None };
                view.apply(&base, Seed(self.seed), self.dataset.samples()[sample].id.as_str(), &masks)?
            }
            _ => base.clone(),
        };
        *plain = Some(base);
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::preprocess::Filter;
    use crate::dataset::{Mask, Sample, Skipped};
    use image::{Rgb, RgbImage};

    /// Sample i is a pixel of level i; samples from 10 on cannot be read.
    struct Levels;

    impl Dataset for Levels {
        fn concepts(&self) -> &[String] {
            &[]
        }
        fn samples(&self) -> &[Sample] {
            &[]
        }
        fn skipped(&self) -> &[Skipped] {
            &[]
        }
        fn image(&self, sample: usize) -> Result<RgbImage> {
            let level = u8::try_from(sample).ok().filter(|level| *level < 10);
            let level = level.ok_or_else(|| Error::Failure(format!("sample {sample} cannot be read")))?;
            Ok(RgbImage::from_pixel(1, 1, Rgb([level; 3])))
        }
        fn mask(&self, _: usize, _: usize) -> Result<Option<Mask>> {
            Ok(None)
        }
    }

    fn ahead<T>(samples: &[usize], consume: impl FnOnce(Inputs) -> Result<T>) -> Result<T> {
        let preprocess =
            Preprocess { size: 1, filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0 / 255.0; 3] };
        let items: Vec<Item> = samples.iter().copied().map(Item::plain).collect();
        let batches: Vec<&[Item]> = items.chunks(2).collect();
        Loader { dataset: &Levels, preprocess: &preprocess, seed: 1, size: 3 }.ahead(&batches, consume)
    }

    #[test]
    fn batches_come_in_order_and_end() {
        let levels = |input: Vec<f32>| input.iter().map(|v| v.round() as usize).collect::<Vec<_>>();
        ahead(&[1, 5, 3], |inputs| {
            assert_eq!(levels(inputs.next()?), [1, 1, 1, 5, 5, 5]);
            assert_eq!(levels(inputs.next()?), [3, 3, 3]);
            assert!(inputs.next().is_err());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_told_in_its_turn() {
        let mut taken = 0;
        let failed = ahead(&[1, 2, 3, 12, 4], |inputs| {
            loop {
                inputs.next()?;
                taken += 1;
            }
            #[expect(unreachable_code, reason = "it names the type")]
            Ok(())
        });
        assert!(failed.unwrap_err().to_string().contains("sample 12 cannot be read"));
        assert_eq!(taken, 1);
    }

    #[test]
    fn a_network_that_fails_ends_the_loading() {
        let failed = ahead::<()>(&[1, 2, 3, 4, 5, 6], |inputs| {
            inputs.next()?;
            Err(Error::Failure("the network failed".into()))
        });
        assert!(failed.unwrap_err().to_string().contains("the network failed"));
    }
}
