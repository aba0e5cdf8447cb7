//! Elements: procedural pictures of coloured, textured shapes, after Nicolson et al. (arXiv 2404.03713). The truth is
//! known to the pixel, and pictures can be made again with one attribute changed.

mod render;

#[cfg(test)]
mod tests;

use image::RgbImage;
use rand::{Rng, RngExt};
use rayon::prelude::*;

pub use render::{ATTRIBUTES, Attribute, CANVAS, Colour, Object, Shape, Texture};

use super::mask::Mask;
use super::pictures::picture_digest;
use super::sample::{Dataset, Edit, Editing, Presence, Sample, Skipped};
use super::spec::{DatasetSpec, World};
use crate::error::{Error, Result};
use crate::seed::Seed;
use crate::store::digest::Digest;

/// Objects a picture is given; one that finds no free place is left out.
const OBJECTS: usize = 4;
/// Tries to place an object.
const TRIES: usize = 100;
/// Pictures where a study does not say how many.
const COUNT: usize = 2000;

/// The procedural dataset. Objects are held in memory, pictures and masks are drawn when asked for.
#[derive(Debug)]
pub struct Elements {
    world: World,
    seed: Seed,
    attributes: Vec<Attribute>,
    concepts: Vec<String>,
    scenes: Vec<Vec<Object>>,
    samples: Vec<Sample>,
}

/// Opens the dataset of a study: every picture is derived from a random stream of its own, so it does not depend on how
/// many there are.
///
/// # Errors
/// When the table has a key that does not belong to this format, an unknown concept, or no pictures.
pub fn open(spec: &DatasetSpec, seed: Seed) -> Result<Elements> {
    spec.check()?;
    let attributes = if spec.concepts.is_empty() {
        ATTRIBUTES.to_vec()
    } else {
        let known = || ATTRIBUTES.iter().map(|a| a.name());
        let find = |name: &String| Attribute::named(name).ok_or_else(|| Error::unknown("concept", name, known()));
        spec.concepts.iter().map(find).collect::<Result<_>>()?
    };
    let world = spec.world.unwrap_or(World::E1);
    let count = spec.count.unwrap_or(COUNT);
    let scenes: Vec<_> =
        (0..count).into_par_iter().map(|i| scene(world, &mut seed.stream(&stream(world, i)))).collect();
    let describe = |(i, objects): (usize, &Vec<Object>)| describe(world, i, objects, &attributes, spec.present_from);
    let samples = scenes.par_iter().enumerate().map(describe).collect();
    let concepts = attributes.iter().map(|a| a.name().to_owned()).collect();
    Ok(Elements { world, seed, attributes, concepts, scenes, samples })
}

/// Multi-label targets for training: which of [`ATTRIBUTES`] occur in a sample of Elements, however small.
pub fn elements_labels(sample: &Sample) -> [bool; ATTRIBUTES.len()] {
    ATTRIBUTES.map(|a| sample.labels.contains(a.name()))
}

fn world_name(world: World) -> &'static str {
    match world {
        World::E1 => "e1",
        World::E2 => "e2",
        World::E3 => "e3",
    }
}

/// Name of a picture's random stream.
fn stream(world: World, index: usize) -> String {
    format!("elements/{}/{index}", world_name(world))
}

/// Draws the objects of one picture.
fn scene(world: World, rng: &mut impl Rng) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::with_capacity(OBJECTS);
    for _ in 0..OBJECTS {
        let (shape, colour, texture) = look(world, rng);
        let brightness = 1.0 - 0.4 * rng.random::<f32>();
        let size = rng.random_range(12..20);
        let mut object = Object { shape, colour, texture, brightness, left: 0, top: 0, size };
        for _ in 0..TRIES {
            object.left = rng.random_range(0..=CANVAS - size);
            object.top = rng.random_range(0..=CANVAS - size);
            if !objects.iter().any(|o| o.overlaps(&object)) {
                objects.push(object);
                break;
            }
        }
    }
    objects
}

/// Draws an object's look. Shapes are equally likely in every world, and so are textures. In E2 half of the triangles
/// are red, so that about a third of the pictures have something red: all allowed pairs alike would leave one in seven.
fn look(world: World, rng: &mut impl Rng) -> (Shape, Colour, Texture) {
    let shapes = [Shape::Square, Shape::Circle, Shape::Triangle, Shape::Plus, Shape::Cross];
    let others = [Colour::Green, Colour::Blue, Colour::Yellow, Colour::Cyan, Colour::Magenta];
    let shape = shapes[rng.random_range(0..shapes.len())];
    let red = match (world, shape) {
        (World::E1, _) => rng.random_range(0..=others.len()) == 0,
        (World::E2, Shape::Triangle) => rng.random(),
        (World::E3, Shape::Triangle) => true,
        (World::E2 | World::E3, _) => false,
    };
    let colour = if red { Colour::Red } else { others[rng.random_range(0..others.len())] };
    let textures = [Texture::Solid, Texture::SpotsPolka, Texture::StripesDiagonal];
    (shape, colour, textures[rng.random_range(0..textures.len())])
}

fn describe(world: World, index: usize, objects: &[Object], concepts: &[Attribute], present_from: f32) -> Sample {
    let has = |a: Attribute| objects.iter().any(|o| o.has(a));
    let coverage: Vec<f32> = concepts.iter().map(|a| render::mask(objects, *a).coverage()).collect();
    let presence = |(a, covered): (&Attribute, &f32)| match (has(*a), *covered >= present_from) {
        (false, _) => Presence::Absent,
        (true, true) => Presence::Present,
        (true, false) => Presence::Unknown,
    };
    let name = format!("{}-{index:06}", world_name(world));
    Sample {
        id: digest(&render::render(objects)),
        group: name.clone(),
        name,
        time: None,
        source: "elements".to_owned(),
        presence: concepts.iter().zip(&coverage).map(presence).collect(),
        coverage,
        // The pixels say everything: there is nothing else to tell one sample from another.
        masks: None,
        labels: ATTRIBUTES.into_iter().filter(|a| has(*a)).map(|a| a.name().to_owned()).collect(),
    }
}

fn digest(image: &RgbImage) -> Digest {
    picture_digest(image.width() as usize, image.height() as usize, image.as_raw())
}

impl Elements {
    /// The objects of a sample; `None` where there is no such sample.
    pub fn objects(&self, sample: usize) -> Option<&[Object]> {
        self.scenes.get(sample).map(Vec::as_slice)
    }

    fn scene(&self, sample: usize) -> Result<&[Object]> {
        self.objects(sample).ok_or_else(|| Error::Failure(format!("elements has no sample {sample}")))
    }

    fn attribute(&self, concept: usize) -> Result<Attribute> {
        let found = self.attributes.get(concept).copied();
        found.ok_or_else(|| Error::Failure(format!("elements has no concept {concept}")))
    }

    /// The objects of a sample after an edit. What replaces an attribute is drawn without regard to the world's rule.
    fn edited_objects(&self, sample: usize, concept: usize, edit: Edit) -> Result<Option<Vec<Object>>> {
        let attribute = self.attribute(concept)?;
        let mut objects = self.scene(sample)?.to_vec();
        let present = self.samples[sample].presence[concept] == Presence::Present;
        let purpose = match edit {
            Edit::Removed => "removed",
            Edit::Kept => "kept",
            // Both sides of a pair draw the same numbers.
            Edit::With | Edit::Without => "pair",
            Edit::Sham => "sham",
            Edit::Pasted { .. } | Edit::ShamFilled { .. } | Edit::ShamPasted { .. } => return Ok(None),
        };
        let mut rng = self.seed.stream(&format!("{}/{}/{purpose}", stream(self.world, sample), attribute.name()));
        match edit {
            Edit::Removed | Edit::Kept if !present => return Ok(None),
            Edit::Removed => {
                objects.iter_mut().filter(|o| o.has(attribute)).for_each(|o| o.set(attribute.other(&mut rng)));
            }
            Edit::Kept => {
                let swap = |o: &mut Object| o.set(o.companion(attribute).other(&mut rng));
                objects.iter_mut().filter(|o| o.has(attribute)).for_each(swap);
            }
            Edit::Sham => {
                let others: Vec<usize> = (0..objects.len()).filter(|i| !objects[*i].has(attribute)).collect();
                if others.is_empty() {
                    return Ok(None);
                }
                let object = &mut objects[others[rng.random_range(0..others.len())]];
                let own = object.kin(attribute);
                let neither = ATTRIBUTES.into_iter().filter(|a| a.is_kin(own) && *a != own && *a != attribute);
                let neither: Vec<Attribute> = neither.collect();
                object.set(neither[rng.random_range(0..neither.len())]);
            }
            _ => {
                let chosen = rng.random_range(0..objects.len());
                let object = &mut objects[chosen];
                (object.shape, object.colour, object.texture) = look(World::E1, &mut rng);
                let other = attribute.other(&mut rng);
                object.set(if edit == Edit::With { attribute } else { other });
            }
        }
        Ok(Some(objects))
    }
}

impl Dataset for Elements {
    fn concepts(&self) -> &[String] {
        &self.concepts
    }

    fn kind(&self, concept: usize) -> Option<&str> {
        self.attributes.get(concept).map(|a| match a {
            Attribute::Shape(_) => "shape",
            Attribute::Colour(_) => "colour",
            Attribute::Texture(_) => "texture",
        })
    }

    fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn skipped(&self) -> &[Skipped] {
        &[]
    }

    fn image(&self, sample: usize) -> Result<RgbImage> {
        Ok(render::render(self.scene(sample)?))
    }

    fn mask(&self, sample: usize, concept: usize) -> Result<Option<Mask>> {
        Ok(Some(render::mask(self.scene(sample)?, self.attribute(concept)?)))
    }

    fn editing(&self) -> Editing {
        Editing::Rendered
    }

    fn edited(&self, sample: usize, concept: usize, edit: Edit) -> Result<Option<RgbImage>> {
        Ok(self.edited_objects(sample, concept, edit)?.map(|objects| render::render(&objects)))
    }
}
