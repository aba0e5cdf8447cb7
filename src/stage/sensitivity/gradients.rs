//! Gradients of class logits at a layer, for the test pictures that stand for the classes: kept in shards, as activations
//! are, and read in the same way.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::network;
use crate::activation::{Item, LayerSet, Network, ShardWriter, Storage};
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::metric::tcav::{ClassName, ExamplesBy, TcavOptions};
use crate::stage::Context;
use crate::store::digest::Digest;

const KIND: &str = "gradient";
const EXAMPLES: &str = "examples.json";
/// Classes that are taken where a study names none.
const MOST_PREDICTED: usize = 3;

/// The test pictures that stand for a class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Examples {
    /// Its number among the logits.
    pub(super) class: usize,
    /// Its name.
    pub(super) name: String,
    /// Samples.
    pub(super) samples: Vec<usize>,
}

pub(super) fn key(context: &Context, options: &TcavOptions, layer: usize) -> Result<Digest> {
    let key = super::key(context, "gradient v1", layer)?;
    // Draws of directions do not change gradients.
    Ok(key.json("options", &(&options.classes, options.by, options.examples))?.finish())
}

/// Computes the gradients of one layer, if the store lacks them. `examples` keeps the classes' pictures between layers.
pub(super) fn run(
    context: &Context,
    options: &TcavOptions,
    layer: usize,
    examples: &mut Option<Vec<Examples>>,
) -> Result<()> {
    let key = key(context, options, layer)?;
    if context.store.has(KIND, &key) {
        return Ok(());
    }
    let network = network(context)?;
    let examples = match examples {
        Some(examples) => examples,
        None => examples.insert(choose(context, options, &network)?),
    };
    let name = &context.layers[layer].name;
    let parameters = serde_json::json!({ "layer": name, "tcav": options });
    context.store.get_or_make(KIND, &key, parameters, |draft| {
        draft.write_json(EXAMPLES, examples)?;
        for (i, examples) in examples.iter().enumerate().filter(|(_, e)| !e.samples.is_empty()) {
            let mut writer = ShardWriter::new(context.layers[layer].shape, Storage::F32);
            for samples in examples.samples.chunks(network.batch()) {
                writer.push(name, &of_class(context, &network, samples, examples.class, layer)?)?;
            }
            draft.write(&shard(i), &writer.finish()?)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// The examples of every class, and their gradients in the same order.
pub(super) fn open(context: &Context, options: &TcavOptions, layer: usize) -> Result<(Vec<Examples>, LayerSet)> {
    let artifact = context.store.get(KIND, &key(context, options, layer)?, "sensitivity")?;
    let examples: Vec<Examples> = artifact.read_json(EXAMPLES)?;
    let filled = (0..examples.len()).filter(|i| !examples[*i].samples.is_empty());
    let paths = filled.map(|i| artifact.file(&shard(i))).collect::<Result<Vec<_>>>()?;
    let set = LayerSet::open(&context.layers[layer].name, &paths)?;
    Ok((examples, set))
}

fn shard(class: usize) -> String {
    format!("{class}.safetensors")
}

fn of_class(
    context: &Context,
    network: &Network<'_>,
    samples: &[usize],
    class: usize,
    layer: usize,
) -> Result<Vec<f32>> {
    let items: Vec<Item> = samples.iter().copied().map(Item::plain).collect();
    let inputs = context.extraction().inputs(network.graph(), &items)?;
    let logits = network.logits();
    let mut slope = vec![0.0; network.map_shape(logits).iter().product()];
    slope[class] = 1.0;
    let found = network.gradients(&inputs, logits, &[context.layers[layer].node], |_| &slope)?.pop();
    found.ok_or_else(|| Error::Failure("the network gave no gradient".into()))
}

/// The classes and their pictures.
fn choose(context: &Context, options: &TcavOptions, network: &Network<'_>) -> Result<Vec<Examples>> {
    let test = context.part(Part::Test);
    let predicted = predicted(context, network, &test)?;
    let classes = if options.classes.is_empty() {
        most_frequent(&predicted)
    } else {
        options.classes.iter().map(|class| number(network, class)).collect::<Result<_>>()?
    };
    let of = |class: usize| {
        let name = network.graph().classes().get(class);
        let wanted = |at: &usize| match (options.by, name) {
            (ExamplesBy::Predicted, _) => predicted[*at] == class,
            (ExamplesBy::Labelled, Some(name)) => context.dataset.samples()[test[*at]].labels.contains(name),
            (ExamplesBy::Labelled, None) => false,
        };
        let name = name.cloned().unwrap_or_else(|| format!("class {class}"));
        let mut samples: Vec<usize> = (0..test.len()).filter(wanted).map(|at| test[at]).collect();
        samples.shuffle(&mut context.seed.stream(&format!("tcav/examples/{name}")));
        samples.truncate(options.examples);
        samples.sort_unstable();
        Examples { class, name, samples }
    };
    if options.by == ExamplesBy::Labelled && network.graph().classes().is_empty() {
        let hint = "name the classes by model.labels, or set tcav.by = \"predicted\"";
        return Err(Error::key("tcav.by", "the network's classes have no names to find in labels", hint));
    }
    Ok(classes.into_iter().map(of).collect())
}

/// The class with the highest logit for every sample.
fn predicted(context: &Context, network: &Network<'_>, samples: &[usize]) -> Result<Vec<usize>> {
    let logits = network.logits();
    let classes = network.map_shape(logits).iter().product::<usize>().max(1);
    let mut out = Vec::with_capacity(samples.len());
    for samples in samples.chunks(network.batch()) {
        let items: Vec<Item> = samples.iter().copied().map(Item::plain).collect();
        let values = network.activations(&context.extraction().inputs(network.graph(), &items)?, logits)?;
        let highest = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]).then(b.cmp(a)));
        out.extend(values.chunks_exact(classes).map(|row| highest(row).unwrap_or(0)));
    }
    Ok(out)
}

/// The classes predicted most often, the most frequent first, the lower number at a tie.
fn most_frequent(predicted: &[usize]) -> Vec<usize> {
    let mut counts = vec![0usize; predicted.iter().max().map_or(0, |m| m + 1)];
    predicted.iter().for_each(|class| counts[*class] += 1);
    let mut classes: Vec<usize> = (0..counts.len()).filter(|class| counts[*class] > 0).collect();
    classes.sort_by(|a, b| counts[*b].cmp(&counts[*a]).then(a.cmp(b)));
    classes.truncate(MOST_PREDICTED);
    classes
}

fn number(network: &Network<'_>, class: &ClassName) -> Result<usize> {
    let names = network.graph().classes();
    let count = network.map_shape(network.logits()).iter().product::<usize>();
    match class {
        ClassName::Index(class) if *class < count => Ok(*class),
        ClassName::Index(class) => {
            let problem = format!("there is no class {class}");
            Err(Error::key("tcav.classes", problem, format!("the network has the classes 0 to {}", count - 1)))
        }
        ClassName::Name(name) => {
            let found = names.iter().position(|n| n == name);
            found.ok_or_else(|| Error::unknown("class", name, names.iter().map(String::as_str)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_classes_come_first() {
        assert_eq!(most_frequent(&[4, 1, 4, 2, 1, 4, 9]), [4, 1, 2]);
        assert_eq!(most_frequent(&[]), [0; 0]);
    }
}
