//! What this machine has: memory and GPUs. Looked at only where a stage asks for them.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that this process may use: those of the machine, or what its control group allows if that is less.
/// `None` where the system does not say.
pub(super) fn memory() -> Option<u64> {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> Option<u64> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let total = read(root.join("proc/meminfo")).lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read(root.join("proc/self/cgroup"));
    let limits = groups.lines().flat_map(|line| limit_files(root, line)).filter_map(|file| {
        // A group without limit says "max" (version 2), or a number beyond all memory (version 1).
        read(file).trim().parse::<u64>().ok()
    });
    limits.chain(total).min()
}

/// Where the memory limits of a control group, and of those around it, stand. `line`: `0::/a/b` (version 2) or
/// `9:memory:/a/b` (version 1).
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, name) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|c| c == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| root.join(mount).join(group).join(name)).collect()
}

/// The ordinals of the GPUs that this process may use: those in `CUDA_VISIBLE_DEVICES`, else as many as there are
/// device files.
pub(super) fn gpus() -> Vec<u32> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    gpus_below(Path::new("/dev"), visible.as_deref())
}

fn gpus_below(dev: &Path, visible: Option<&str>) -> Vec<u32> {
    if let Some(list) = visible {
        // GPUs that are named otherwise than by number cannot be told apart here: none, unless `--gpus` says so.
        return list.split(',').map_while(|entry| entry.trim().parse().ok()).collect();
    }
    let names = fs::read_dir(dev).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_gpu = |name: &str| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    // The driver counts from 0 whatever the files are called.
    let count = names.filter(|name| name.to_str().is_some_and(is_gpu)).count();
    (0..u32::try_from(count).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn memory_is_the_least_of_machine_and_control_groups() {
        let meminfo = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:  1 kB\n");
        assert_eq!(memory_below(machine(&[meminfo]).path()), Some(16_384_000_000));
        assert_eq!(memory_below(machine(&[]).path()), None);
        let second = |limit| {
            let files = [
                meminfo,
                ("proc/self/cgroup", "0::/box/job\n"),
                ("sys/fs/cgroup/box/job/memory.max", "max\n"),
                ("sys/fs/cgroup/box/memory.max", limit),
            ];
            memory_below(machine(&files).path())
        };
        assert_eq!(second("4000000000\n"), Some(4_000_000_000), "a group further up counts");
        assert_eq!(second("max\n"), Some(16_384_000_000));
        assert_eq!(second("99000000000\n"), Some(16_384_000_000));
        let first = [
            meminfo,
            ("proc/self/cgroup", "5:cpu:/\n4:pids,memory:/box\n"),
            ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "3000000000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(memory_below(machine(&first).path()), Some(3_000_000_000));
    }

    #[test]
    fn gpus_are_counted_or_named_by_the_caller() {
        let dev = machine(&[("nvidia0", ""), ("nvidia7", ""), ("nvidiactl", ""), ("nvidia-uvm", ""), ("null", "")]);
        assert_eq!(gpus_below(dev.path(), None), [0, 1]);
        assert_eq!(gpus_below(dev.path(), Some("3,5")), [3, 5]);
        assert!(gpus_below(dev.path(), Some("")).is_empty());
        assert!(gpus_below(machine(&[]).path(), None).is_empty());
    }
}
