//! `s2pipe stages` and `s2pipe schema`: the kinds, for people and for editors.

use crate::cli::args::StagesArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_json};
use crate::spec::{describe, describe_json, schema as json_schema};
use crate::stages::registry;

/// Lists the stage kinds.
pub(in crate::cli) fn stages(args: &StagesArgs) -> Result<(), Failure> {
    let kinds = registry().specs();
    let kind = args.kind.as_deref();
    if args.json {
        print_json(&describe_json(&kinds, kind).map_err(Failure::usage)?)
    } else {
        print(&describe(&kinds, kind).map_err(Failure::usage)?)
    }
}

/// Prints the JSON schema of the language.
pub(in crate::cli) fn schema() -> Result<(), Failure> {
    print_json(&json_schema(&registry().specs()))
}
