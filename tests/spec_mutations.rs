//! Broken pipelines of every kind: the checks may refuse them, never panic, and point inside the text.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

use s2pipe::spec::{Override, Problem, parse};

#[path = "spec/kinds.rs"]
mod kinds;
use kinds::KINDS;

/// What is put into a text: everything that YAML gives a meaning to, and what people type by mistake.
const SNIPPETS: &[&str] = &[
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "#",
    " #",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "...\n",
    "? ",
    "|\n",
    ">-\n",
    "<<: ",
    "~",
    "null",
    "yes",
    "0",
    "-1",
    "1e999",
    ".nan",
    "0x",
    "_",
    "%",
    "@",
    "`",
    "\\",
    "\u{feff}",
    "\r",
    "\r\n",
    "\u{0}",
    "\u{1b}[31m",
    "æ",
    "\u{1f30d}",
    "\u{2028}",
    "\u{85}",
    "ingest",
    "train.model",
    "../",
    "/",
    "**",
    "stages:\n",
    "with: ",
    "uses: shell\n",
    "{a: [{b: ",
    "\"\\u0000\"",
    "\"\\x1b\"",
];

/// A small generator with a period long enough for a test (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

fn mutate(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..1 + random.below(4) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(12)).min(chars.len());
        match random.below(6) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, SNIPPETS[random.below(SNIPPETS.len())].chars())),
            2 => drop(chars.splice(at..end, SNIPPETS[random.below(SNIPPETS.len())].chars())),
            3 => {
                let part: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                drop(chars.splice(to..to, part));
            }
            4 => chars.truncate(at),
            _ => {
                let text: String = chars.iter().collect();
                let mut lines: Vec<&str> = text.lines().collect();
                if lines.len() > 1 {
                    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
                    lines.swap(a, b);
                }
                chars = lines.join("\n").chars().collect();
            }
        }
        if chars.is_empty() {
            break;
        }
    }
    chars.into_iter().collect()
}

fn assert_inside(problem: &Problem, line: Option<&str>) {
    let Some(place) = problem.place else { return };
    let line = line.unwrap();
    assert!(place.line >= 1 && (1..=line.chars().count() + 1).contains(&place.column), "{problem:?}");
}

#[test]
fn no_broken_pipeline_makes_the_checks_panic() {
    let file = Path::new("tests/spec/pipelines/landcover.yaml");
    let texts = ["", "-matrix", "-site"]
        .map(|what| std::fs::read_to_string(format!("tests/spec/pipelines/landcover{what}.yaml")).unwrap());
    let mut random = Random(20_260_728);
    let mut refused = 0;
    for index in 0..3000 {
        let broken = mutate(&texts[index % 3], &mut random);
        let Err(diagnostics) = parse(&broken, file, &[], KINDS) else { continue };
        refused += 1;
        assert!(!diagnostics.problems().is_empty(), "{broken}");
        let json = diagnostics.to_json();
        for (problem, json) in diagnostics.problems().iter().zip(json.as_array().unwrap()) {
            assert_inside(problem, json["text"].as_str());
        }
        for rendered in [diagnostics.render(false), diagnostics.render(true)] {
            assert!(!rendered.contains("Failed to read"), "{rendered}\n{broken}");
        }
    }
    assert!((1500..3000).contains(&refused), "{refused} of 3000 were refused");
}

#[test]
fn no_broken_override_makes_the_checks_panic() {
    let file = Path::new("tests/spec/pipelines/landcover.yaml");
    let text = std::fs::read_to_string("tests/spec/pipelines/landcover-matrix.yaml").unwrap();
    let mut random = Random(7);
    for start in [
        "train.model.width=32",
        "train.matrix.model.width=[16, 32]",
        "stages.ingest.with.train={ scenes: a, truth: b }",
        "classes.1.name=x",
        "seed=1",
        "slurm.kinds.train={ options: [--qos=a], time: 1h }",
        "remote.url=https://host:9000/a",
    ] {
        for _ in 0..400 {
            let broken = mutate(start, &mut random);
            let result = Override::parse(&broken).and_then(|change| parse(&text, file, &[change], KINDS));
            if let Err(diagnostics) = result {
                assert!(!diagnostics.render(false).contains("Failed to read"), "{diagnostics}");
                assert!(!diagnostics.render(true).is_empty());
            }
        }
    }
}

#[test]
fn what_expands_without_end_is_refused_at_once() {
    let file = Path::new("tests/spec/pipelines/landcover.yaml");
    let laughs: String = (1..20).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}]\n", i - 1)).collect();
    for text in [
        format!("a0: &a0 [x]\n{laughs}"),
        "[".repeat(500_000),
        "{a: ".repeat(200_000),
        "- ".repeat(400_000),
        "? ".repeat(400_000),
        format!("a:\n{}", "  b: &x *x\n".repeat(10)),
        format!("stages: {{ a: {{ uses: {} }} }}", "x".repeat(900_000)),
    ] {
        let Err(diagnostics) = parse(&text, file, &[], KINDS) else { panic!("taken") };
        assert!(diagnostics.problems().iter().all(|p| p.message.len() < 1000));
    }
}
