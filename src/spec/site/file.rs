//! A person's own file: `executor`, `slurm` and `remote` for every pipeline that they run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Site;
use crate::spec::check::{Known, site, unknown_keys};
use crate::spec::kind::KindSpec;
use crate::spec::node::Node;
use crate::spec::problem::{Diagnostics, Problem};
use crate::spec::read::read_text;
use crate::spec::syntax;
use crate::spec::text::{Origin, Text};
use crate::spec::words::{SITE_KEYS, TOP_KEYS};

/// Names another file; empty: none is read.
const VARIABLE: &str = "S2PIPE_CONFIG";

/// The settings of the person who started the program: those in the file that `S2PIPE_CONFIG` names, none where it is
/// empty; else those in `s2pipe/config.yaml` below `$XDG_CONFIG_HOME` or `~/.config`, none where there is no such file.
///
/// # Errors
/// Every problem found in the file; or why it could not be read, which includes that a file named by `S2PIPE_CONFIG` is
/// not there.
pub fn personal_site(kinds: &[&'static KindSpec]) -> Result<Site, Diagnostics> {
    match place(|name| std::env::var_os(name)) {
        Some(Place::Named(file)) => load_site_file(&file, kinds),
        // One that cannot be looked at is read, so that the reason is told.
        Some(Place::Usual(file)) if file.try_exists().unwrap_or(true) => load_site_file(&file, kinds),
        _ => Ok(Site::default()),
    }
}

/// Reads and checks such a file. Whether the stages that it names are any cannot be known.
///
/// # Errors
/// Every problem found; or why the file could not be read.
pub fn load_site_file(file: &Path, kinds: &[&'static KindSpec]) -> Result<Site, Diagnostics> {
    let content = read_text(file, "settings file")
        .map_err(|unread| Diagnostics::new(file, vec![unread.text], vec![unread.problem]))?;
    let text = Text::new(Origin::File, &content);
    let (tree, mut problems) = syntax::read(&text);
    let site = tree.map(|tree| check(&tree, kinds, &mut problems));
    if site.is_none() && problems.is_empty() {
        problems.push(Problem::whole("this is not valid YAML"));
    }
    site.filter(|_| problems.is_empty()).ok_or_else(|| Diagnostics::new(file, vec![text], problems))
}

fn check(tree: &Node, kinds: &[&'static KindSpec], problems: &mut Vec<Problem>) -> Site {
    if tree.is_null() {
        return Site::default();
    }
    let Some(entries) = tree.entries() else {
        let message = format!("expected a map with `executor`, `slurm` or `remote`, found {}", tree.found());
        problems.push(Problem::at(tree.place, message).label("not a map").help("for example `executor: slurm`"));
        return Site::default();
    };
    for entry in entries {
        let key = entry.key.as_str();
        if TOP_KEYS.contains(&key) && !SITE_KEYS.contains(&key) {
            problems.push(
                Problem::at(entry.key_place, format!("`{key}` is not a key of personal settings"))
                    .label("key of a pipeline")
                    .help("write it in the pipeline; here stand `executor`, `slurm` and `remote`"),
            );
        } else {
            unknown_keys(std::slice::from_ref(entry), &SITE_KEYS, "personal settings", problems);
        }
    }
    site(tree, &Known { kinds, stages: None }, problems)
}

/// Where a personal file is looked for.
#[derive(PartialEq, Debug)]
enum Place {
    /// It was named: it must be there.
    Named(PathBuf),
    /// It may be there.
    Usual(PathBuf),
}

/// `None`: nowhere.
fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<Place> {
    if let Some(named) = variable(VARIABLE) {
        return (!named.is_empty()).then(|| Place::Named(named.into()));
    }
    // The base directory specification wants what is not absolute ignored.
    let folder = |name| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(Place::Usual(config.join("s2pipe/config.yaml")))
}

#[cfg(test)]
mod tests {
    use super::{Place, place};

    fn looked_for(variables: &[(&str, &str)]) -> Option<Place> {
        place(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn the_personal_file_is_named_or_in_the_usual_place() {
        let usual = |file: &str| Some(Place::Usual(file.into()));
        assert_eq!(looked_for(&[("HOME", "/h")]), usual("/h/.config/s2pipe/config.yaml"));
        let both = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")];
        assert_eq!(looked_for(&both), usual("/x/s2pipe/config.yaml"));
        for ignored in ["", "relative"] {
            let home = looked_for(&[("HOME", "/h"), ("XDG_CONFIG_HOME", ignored)]);
            assert_eq!(home, usual("/h/.config/s2pipe/config.yaml"));
        }
        assert_eq!(looked_for(&[("HOME", "/h"), ("S2PIPE_CONFIG", "a.yaml")]), Some(Place::Named("a.yaml".into())));
        assert_eq!(looked_for(&[("HOME", "/h"), ("S2PIPE_CONFIG", "")]), None);
        assert_eq!(looked_for(&[]), None);
    }
}
