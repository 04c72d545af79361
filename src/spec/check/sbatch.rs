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
    let problem = match option_name(text) {
        None => not_an_option(node, path, text),
        Some(name) => match instead_of(name) {
            Some(advice) => Problem::at(node.place, format!("{path}: `--{name}` cannot be given here"))
                .label("set otherwise")
                .help(advice),
            None if text[2 + name.len()..].starts_with(' ') => {
                let value = text[2 + name.len()..].trim();
                Problem::at(node.place, format!("{path}: expected `--name=value`, found a blank after `--{name}`"))
                    .label("one argument of `sbatch`")
                    .help(format!("write `--{name}={value}`"))
            }
            None => return Some(text.to_owned()),
        },
    };
    problems.push(problem);
    None
}

fn not_an_option(node: &Node, path: &str, text: &str) -> Problem {
    let long = long_form(text).map(|long| format!("write `{long}`"));
    let message = format!("{path}: expected an option such as `--qos=devel`, found {}", node.found());
    Problem::at(node.place, message)
        .label("not an option")
        .help(long.unwrap_or_else(|| "options begin with `--`, each a text of its own".to_owned()))
}
