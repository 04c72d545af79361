//! `remote:`: a cache shared with others.

use crate::spec::expect::one_of;
use crate::spec::node::Node;
use crate::spec::problem::Problem;
use crate::spec::secrets::password;
use crate::spec::site::{Push, RemoteSettings};
use crate::spec::suggest::nearest;
use crate::spec::words::{REMOTE_KEYS, REMOTE_SCHEMES};

use super::site::{choice, entries, line};
use super::top::unknown_keys;

const EXAMPLE: &str = "url: s3://bucket/prefix";

/// Reads `remote:`.
pub(super) fn remote(node: &Node, problems: &mut Vec<Problem>) -> RemoteSettings {
    let entries = entries(node, "remote", "remote: { url: \"s3://bucket/prefix\", push: always }", problems);
    unknown_keys(entries, &REMOTE_KEYS, "`remote`", problems);
    let given = |key: &str| entries.iter().find(|e| e.key == key).map(|e| &e.value);
    let words = Push::ALL.map(|push| (push.word(), push));
    RemoteSettings {
        url: given("url").and_then(|node| url(node, problems)),
        push: given("push").and_then(|node| choice(node, "remote.push", &words, "words", problems)),
    }
}

fn url(node: &Node, problems: &mut Vec<Problem>) -> Option<String> {
    let text = line(node, "remote.url", EXAMPLE, problems)?;
    let Some(wrong) = what_is_wrong(text) else { return Some(text.to_owned()) };
    problems.push(Problem { place: Some(node.place), ..wrong });
    None
}

/// Why a text is no address of a shared cache. What is secret in it is not repeated.
fn what_is_wrong(text: &str) -> Option<Problem> {
    let Some((scheme, rest)) = text.split_once("://") else { return Some(no_scheme(text)) };
    if !REMOTE_SCHEMES.contains(&scheme) {
        return Some(unknown_scheme(scheme));
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if has_credentials(scheme, rest) {
        let problem = Problem::whole("remote.url: the address contains a user or a password");
        return Some(problem.label("not in a file").help("remove them: credentials come from the environment"));
    }
    if rest.contains(['?', '#']) {
        let problem = Problem::whole("remote.url: the address has a query or a fragment (`?…`, `#…`)");
        return Some(problem.label("too much").help("remove it: credentials come from the environment"));
    }
    if rest.contains(char::is_whitespace) {
        return Some(Problem::whole("remote.url: the address contains blanks").label("write a blank as `%20`"));
    }
    match (scheme, host.is_empty()) {
        ("file", true) if !path.is_empty() => None,
        ("file", _) => Some(
            Problem::whole("remote.url: expected `file://` and the whole path of a folder")
                .label("not a whole path")
                .help("it has three slashes: `file:///shared/cache`"),
        ),
        (_, false) => None,
        (_, true) => {
            let what = if scheme.starts_with("http") { "a host" } else { "a bucket or container" };
            let message = format!("remote.url: expected {what} after `{scheme}://`, found nothing");
            Some(Problem::whole(message).label("incomplete").help(format!("for example `{scheme}://name/prefix`")))
        }
    }
}

/// Whether an address names a user. In `abfs://container@account.host`, `@` follows a container.
fn has_credentials(scheme: &str, address: &str) -> bool {
    let host = address.split('/').next().unwrap_or_default();
    password(address).is_some() || (host.contains('@') && !scheme.starts_with("abfs"))
}

fn no_scheme(text: &str) -> Problem {
    let help = if text.starts_with('/') {
        format!("for a folder that others see too, write `file://{text}`")
    } else {
        format!("for example `{EXAMPLE}`")
    };
    let message = format!("remote.url: expected an address that begins with {}", schemes());
    Problem::whole(message).label("has no scheme").help(help)
}

fn unknown_scheme(scheme: &str) -> Problem {
    let message = format!("remote.url: expected an address that begins with {}, found `{scheme}://`", schemes());
    let near = nearest(scheme, REMOTE_SCHEMES).map(|near| format!("did you mean `{near}://`?"));
    Problem::whole(message).label("unknown scheme").maybe_help(near)
}

fn schemes() -> String {
    let schemes = REMOTE_SCHEMES.map(|scheme| format!("{scheme}://"));
    one_of(schemes.iter().map(String::as_str))
}
