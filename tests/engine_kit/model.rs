//! A random pipeline, its random edits, and an oracle that does everything from scratch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use s2pipe::spec::Stage;
use serde_json::json;

use super::{Project, concat_text, stage};

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// A pipeline of `concat` stages as the oracle sees it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Model {
    pub(crate) files: Vec<String>,
    pub(crate) stages: Vec<ModelStage>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct ModelStage {
    prefix: String,
    drop: bool,
    /// Files by number, and earlier stages by number.
    files: Vec<usize>,
    reads: Vec<usize>,
}

impl Model {
    pub(crate) fn random(random: &mut Random) -> Self {
        let files = (0..3).map(|i| format!("file {i}\n")).collect();
        let count = 3 + random.below(5) as usize;
        let stages = (0..count).map(|i| ModelStage::random(random, i)).collect();
        Self { files, stages }
    }

    fn params(&self, i: usize) -> serde_json::Value {
        let stage = &self.stages[i];
        json!({"prefix": stage.prefix, "drop": if stage.drop { "#" } else { "" }})
    }

    pub(crate) fn stages(&self, root: &Path) -> Vec<Stage> {
        let build = |(i, model): (usize, &ModelStage)| {
            let mut built = stage(&format!("t{i}"), "concat").with(self.params(i));
            let files: Vec<PathBuf> = model.files.iter().map(|f| root.join(format!("f{f}.txt"))).collect();
            if !files.is_empty() {
                built = built.files("a", &files);
            }
            for up in &model.reads {
                built = built.reads(&format!("b{up}"), &format!("t{up}"));
            }
            built.done()
        };
        self.stages.iter().enumerate().map(build).collect()
    }

    /// The oracle: everything from scratch, in order. Returns each stage's input and output.
    pub(crate) fn answer(&self) -> Vec<(String, String)> {
        let mut done: Vec<(String, String)> = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let mut slots = BTreeMap::new();
            slots.extend(stage.files.iter().map(|f| (format!("a/f{f}"), self.files[*f].clone())));
            slots.extend(stage.reads.iter().map(|up| (format!("b{up}"), done[*up].1.clone())));
            let input: String = slots.values().cloned().collect();
            let text = concat_text(&self.params(i), &input);
            done.push((format!("{} {slots:?}", self.params(i)), text));
        }
        done
    }

    pub(crate) fn edit(&mut self, random: &mut Random) {
        let at = random.below(self.stages.len() as u64) as usize;
        match random.below(6) {
            0 | 1 => {
                let file = random.below(3) as usize;
                self.files[file] = format!("{}text {}\n", ["", "#"][random.below(2) as usize], random.below(3));
            }
            2 => self.stages[at].prefix = format!("p{}", random.below(3)),
            3 => self.stages[at].drop = !self.stages[at].drop,
            4 => self.stages[at] = ModelStage::random(random, at),
            _ if self.stages.len() > 2 => {
                self.stages.pop();
            }
            _ => self.stages.push(ModelStage::random(random, self.stages.len())),
        }
    }
}

impl ModelStage {
    fn random(random: &mut Random, at: usize) -> Self {
        let pick = |random: &mut Random, n: usize| (0..n).filter(|_| random.below(3) == 0).collect();
        Self {
            prefix: format!("p{}", random.below(2)),
            drop: random.below(2) == 0,
            files: pick(random, 3),
            reads: pick(random, at),
        }
    }
}

/// Removes or damages a random file of the store, the actions, the index or the view.
pub(crate) fn harm(p: &Project, random: &mut Random) {
    let folders = [".s2pipe/store", ".s2pipe/actions", ".s2pipe/newest", "demo"];
    let mut files = Vec::new();
    list(&p.cache_dir().join(folders[random.below(4) as usize]), &mut files);
    files.sort();
    let Some(file) = files.get(random.below(files.len().max(1) as u64) as usize) else { return };
    if random.below(2) == 0 || file.is_symlink() {
        fs::remove_file(file).unwrap();
    } else {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(file, "garbage").unwrap();
    }
}

pub(crate) fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() { list(&entry.path(), files) } else { files.push(entry.path()) }
    }
}
