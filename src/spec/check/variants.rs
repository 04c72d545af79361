//! Checks that need the whole pipeline with its variants: how many there are, and the kinds' own checks of each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::spec::kind::KindSpec;
use crate::spec::model::Pipeline;
use crate::spec::node::Entry;
use crate::spec::problem::Problem;
use crate::spec::sweep::{MAX_VARIANTS, Sweep};
use crate::spec::text::Place;

use super::matrix::{bind_again, too_many};
use super::stage::node_at;

/// Notes every stage at which variants become too many: one that none of its sources has as many of.
pub(super) fn count_variants(pipeline: &Pipeline, entries: &[Entry], problems: &mut Vec<Problem>) {
    let sweep = Sweep::new(pipeline);
    for (stage, entry) in pipeline.stages.iter().zip(entries) {
        let count = sweep.count(&stage.name);
        let before = sweep.sources(&stage.name, pipeline).map(|up| sweep.count(up)).max().unwrap_or(1);
        if count > MAX_VARIANTS && before <= MAX_VARIANTS {
            problems.push(too_many(entry, count));
        }
    }
}

/// The kinds' own checks of every variant, once everything else is right.
pub(super) fn ask_kinds(
    pipeline: &Pipeline,
    entries: &[Entry],
    kinds: &[&'static KindSpec],
    problems: &mut Vec<Problem>,
) {
    let sweep = Sweep::new(pipeline);
    let mut bound = Cow::Borrowed(pipeline);
    for (position, (stage, entry)) in pipeline.stages.iter().zip(entries).enumerate() {
        let Some(check) = kinds.iter().find(|k| k.name == stage.uses).and_then(|k| k.check) else { continue };
        let variants = sweep.variants(&stage.name);
        // The same finding in several variants is told once.
        let mut found: BTreeMap<(Place, String, Option<String>), Vec<String>> = BTreeMap::new();
        for variant in &variants {
            if !sweep.is_empty() {
                sweep.bind(variant, &stage.name, pipeline, bound.to_mut());
            }
            let findings = check(&bound, &bound.stages[position]);
            let own = (!findings.is_empty()).then(|| bind_again(entry, sweep.own_index(variant, stage)));
            for finding in findings {
                let place = node_at(own.as_ref().unwrap_or(entry), &finding.path).place;
                found.entry((place, finding.message, finding.help)).or_default().push(sweep.name(variant));
            }
        }
        for ((place, message, help), names) in found {
            let which = match names.as_slice() {
                all if all.len() == variants.len() => String::new(),
                [one] => format!(" (in the variant {one})"),
                [first, rest @ ..] => format!(" (in the variant {first} and {} more)", rest.len()),
                [] => String::new(),
            };
            let message = format!("{}: {message}{which}", stage.name);
            problems.push(Problem::at(place, message).maybe_help(help));
        }
    }
}
