//! `options:` of `slurm:`: what `sbatch` is given beyond the keys.

use crate::spec::node::Node;
use crate::spec::problem::Problem;
use crate::spec::site::{instead_of, long_form, option_name};

use super::site::line;
use super::slurm::list;

const EXAMPLE: &str = "options: [\"--qos=devel\"]";

/// Reads a list of options.
pub(super) fn options(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let items = list(node, path, EXAMPLE, problems)?;
    Some(items.iter().filter_map(|item| option(item, path, problems)).collect())
}

fn option(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let text = line(node, path, EXAMPLE, problems)?;
    let Some(wrong) = what_is_wrong(text, path, &node.found()) else { return Some(text.to_owned()) };
    problems.push(Problem { place: Some(node.place), ..wrong });
    None
}

fn what_is_wrong(text: &str, path: &str, found: &str) -> Option<Problem> {
    let long = long_form(text);
    let option = long.as_deref().unwrap_or(text);
    let Some(name) = option_name(option) else {
        let message = format!("{path}: expected an option such as `--qos=devel`, found {found}");
        let help = "options begin with `--`, each a text of its own";
        return Some(Problem::whole(message).label("not an option").help(help));
    };
    if let Some(advice) = instead_of(name) {
        let message = format!("{path}: `--{name}` cannot be given here");
        return Some(Problem::whole(message).label("set otherwise").help(advice));
    }
    if option == text && !text[2 + name.len()..].starts_with(' ') {
        return None;
    }
    let written = option.replacen(' ', "=", usize::from(option == text));
    let message = format!("{path}: expected an option such as `--name=value`, found {found}");
    Some(Problem::whole(message).label("not written out").help(format!("write `{written}`")))
}
