//! Which pictures a study asks for.

use super::studio::{Order, Rendered, Role};
use crate::error::Result;
use crate::maximise::{MaximiseOptions, Objective, unit};
use crate::model::Graph;
use crate::probe::Cav;
use crate::stage::{Context, fit};

/// Every picture of a study: of directions, layer by layer, and of units.
///
/// # Errors
/// When directions have not been fitted, or a unit does not exist.
pub(super) fn of_study(context: &Context, options: &MaximiseOptions) -> Result<Vec<Order>> {
    let mut out = Vec::new();
    for (layer, variant) in context.units() {
        let name = &context.layers[layer].name;
        let wanted =
            options.variants.contains(&variant) && (options.layers.is_empty() || options.layers.contains(name));
        if wanted && !options.kinds.is_empty() {
            let (_, fitted) = fit::get(context, layer, variant)?;
            out.extend(of_directions(context.layers[layer].node, name, &fitted.cavs, options));
        }
    }
    out.extend(of_units(context.network()?, options)?);
    Ok(out)
}

/// Every unit with every seed.
///
/// # Errors
/// When a unit does not exist.
pub fn of_units(graph: &Graph, options: &MaximiseOptions) -> Result<Vec<Order>> {
    let mut out = Vec::new();
    for text in &options.units {
        let objective = unit::parse(graph, text)?;
        let layers: Vec<&str> = objective.nodes().into_iter().map(|node| graph.layer_name(node)).collect();
        for seed in 0..options.seeds as u64 {
            out.push((order(&layers.join(" + "), text, "unit", Role::Unit, seed), objective.clone()));
        }
    }
    Ok(out)
}

/// For every chosen direction and seed: the direction and its opposite, and once a layer a random one.
fn of_directions(node: usize, layer: &str, cavs: &[Cav], options: &MaximiseOptions) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut random: Option<&Cav> = None;
    let of = |cav: &Cav, role: Role, seed: u64| {
        let sign = if role == Role::Negative { -1.0 } else { 1.0 };
        let mut rendered = order(layer, &cav.concept, &cav.probe, role, seed);
        rendered.variant = Some(cav.variant);
        rendered.bias = f64::from(sign) * cav.bias;
        let direction = cav.direction.iter().map(|v| sign * v).collect();
        (rendered, Objective::direction(node, direction, cav.variant, options.cosine_power))
    };
    for cav in cavs.iter().filter(|cav| cav.kernel.is_none()) {
        if cav.probe == "random" {
            random = random.or(Some(cav));
        }
        if options.kinds.contains(&cav.probe) {
            for seed in 0..options.seeds as u64 {
                orders.push(of(cav, Role::Cav, seed));
            }
            if options.controls {
                orders.push(of(cav, Role::Negative, 0));
            }
        }
    }
    if let (Some(cav), true) = (random, options.controls && !orders.is_empty()) {
        orders.extend((0..options.seeds as u64).map(|seed| of(cav, Role::Random, seed)));
    }
    orders
}

pub(super) fn order(layer: &str, concept: &str, probe: &str, role: Role, seed: u64) -> Rendered {
    Rendered {
        layer: layer.to_owned(),
        concept: concept.to_owned(),
        probe: probe.to_owned(),
        variant: None,
        role,
        seed,
        parameter: None,
        bias: 0.0,
        trace: Vec::new(),
        score: f64::NAN,
        best_score: f64::NAN,
        best_step: 0,
        diagnosis: None,
    }
}

/// The same made of the parameterisation of `column`, which is told where `all` have several.
pub fn in_column(orders: &[Order], column: &MaximiseOptions, all: &MaximiseOptions) -> Vec<Order> {
    let parameter = (all.parameters.len() > 1).then_some(column.parameter);
    orders.iter().map(|(r, o)| (Rendered { parameter, ..r.clone() }, o.clone())).collect()
}

/// The same directions and units, for the network with random weights.
pub(super) fn untrained(orders: &[Order]) -> Vec<Order> {
    let wanted = orders.iter().filter(|(r, _)| matches!(r.role, Role::Cav | Role::Unit));
    wanted.map(|(r, o)| (Rendered { role: Role::Untrained, ..r.clone() }, o.clone())).collect()
}
