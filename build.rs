//! With the feature `cuda`: compiles the GPU kernels, and makes the gate through which NVIDIA's libraries are reached (see
//! `src/net/ops/cuda/gate.rs`). Without it there is nothing to do.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Where the kernels lie.
const KERNELS: &str = "src/net/ops/cuda/kernels";
/// Machine code for the A100 and the H100, and an intermediate form for what comes after them.
const TARGETS: [&str; 2] = ["arch=compute_80,code=sm_80", "arch=compute_90,code=[sm_90,compute_90]"];
/// The libraries that are opened at run time. Those that start with `!` are linked in name only, and never opened: candle
/// brings kernels for quantised language models that register themselves with the runtime library.
const LIBRARIES: [&str; 7] = ["cuda", "cudnn", "cublas", "cublasLt", "curand", "nvrtc", "!cudart"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed={KERNELS}");
    for variable in ["CUDA_HOME", "CUDA_PATH", "NVCC", "LIBRARY_PATH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile_kernels(&out);
    make_gate(&out);
}

fn toolkit() -> Option<PathBuf> {
    ["CUDA_HOME", "CUDA_PATH"].iter().find_map(env::var_os).map(PathBuf::from)
}

fn nvcc() -> PathBuf {
    let named = env::var_os("NVCC").map(PathBuf::from);
    let installed = toolkit().map(|toolkit| toolkit.join("bin/nvcc"));
    named.or(installed.filter(|path| path.exists())).unwrap_or_else(|| "nvcc".into())
}

/// Every `.cu` file to one file of machine code, and `kernels.rs`, the list of them.
fn compile_kernels(out: &Path) {
    let mut sources: Vec<PathBuf> = fs::read_dir(KERNELS)
        .expect("the folder of the kernels")
        .map(|entry| entry.expect("an entry of the folder of the kernels").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    sources.sort();
    let image = |source: &Path| out.join(source.with_extension("fatbin").file_name().expect("a file has a name"));
    let compilers: Vec<(PathBuf, Child)> =
        sources.iter().map(|source| (source.clone(), compile(source, &image(source)))).collect();
    for (source, mut compiler) in compilers {
        let status = compiler.wait().expect("nvcc runs to its end");
        assert!(status.success(), "nvcc could not compile {}", source.display());
    }
    let list: String = sources.iter().fold(String::from("&["), |mut list, source| {
        write!(list, "include_bytes!({:?}),", image(source)).expect("text can be written to");
        list
    });
    fs::write(out.join("kernels.rs"), list + "]").expect("the list of kernels can be written");
}

fn compile(source: &Path, image: &Path) -> Child {
    let mut nvcc = Command::new(nvcc());
    nvcc.args(["-std=c++17", "-O3", "--fatbin"]);
    for target in TARGETS {
        nvcc.args(["-gencode", target]);
    }
    nvcc.arg("-o").arg(image).arg(source);
    nvcc.spawn().unwrap_or_else(|error| {
        panic!(
            "{:?} cannot be run ({error}): the feature `cuda` needs the CUDA toolkit, see the README",
            nvcc.get_program()
        )
    })
}

/// `gate.s`: for every function of the libraries a jump through a slot. `gate.txt`: the library and the name of every slot.
fn make_gate(out: &Path) {
    let names: Vec<(&str, String)> = LIBRARIES
        .iter()
        .flat_map(|library| functions(library.trim_start_matches('!')).into_iter().map(move |name| (*library, name)))
        .collect();
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the target");
    let (jump, absent, zero): (fn(usize) -> String, _, _) = match arch.as_str() {
        "x86_64" => (
            |slot| format!("jmp qword ptr [rip + s2pipe_gate_slots + {}]", 8 * slot),
            "mov eax, 500\nret",
            "xor eax, eax\nret",
        ),
        "aarch64" => (
            |slot| {
                let slot = format!("s2pipe_gate_slots + {}", 8 * slot);
                format!("adrp x16, {slot}\nldr x16, [x16, :lo12:{slot}]\nbr x16")
            },
            "mov w0, #500\nret",
            "mov w0, #0\nret",
        ),
        other => panic!("the feature `cuda` is made for x86_64 and aarch64, not for {other}"),
    };
    let mut code = format!(".text\n.p2align 4\ns2pipe_gate_absent:\n{absent}\n.p2align 4\ns2pipe_gate_zero:\n{zero}\n");
    let mut slots =
        String::from(".data\n.p2align 3\n.globl s2pipe_gate_slots\n.hidden s2pipe_gate_slots\ns2pipe_gate_slots:\n");
    let mut list = String::new();
    for (slot, (library, name)) in names.iter().enumerate() {
        let jump = jump(slot);
        write!(code, ".p2align 4\n.globl {name}\n.hidden {name}\n.type {name}, %function\n{name}:\n{jump}\n")
            .expect("text can be written to");
        let first = if library.starts_with('!') { "s2pipe_gate_zero" } else { "s2pipe_gate_absent" };
        writeln!(slots, ".quad {first}").expect("text can be written to");
        writeln!(list, "{library} {name}").expect("text can be written to");
    }
    fs::write(out.join("gate.s"), code + &slots + ".text\n").expect("the gate can be written");
    fs::write(out.join("gate.txt"), list).expect("the gate's names can be written");
}

/// Names of the functions that `lib<library>.so` of the toolkit exports.
fn functions(library: &str) -> Vec<String> {
    let file = library_file(library);
    let listed = Command::new("nm").args(["-D", "--defined-only"]).arg(&file).output();
    let listed = listed.unwrap_or_else(|error| panic!("nm, a part of the binutils, cannot be run: {error}"));
    assert!(listed.status.success(), "nm cannot read {}", file.display());
    let prefix = match library {
        "cuda" => "cu",
        "cudart" => "",
        "cublasLt" => "cublasLt",
        other => other,
    };
    let text = String::from_utf8_lossy(&listed.stdout);
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_, kind, name) = (words.next()?, words.next()?, words.next()?);
            let name = name.split('@').next()?;
            let wanted = name.starts_with(prefix) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            (matches!(kind, "T" | "t" | "W" | "i") && wanted).then(|| name.to_owned())
        })
        .filter(|name| library != "cudart" || name.starts_with("cuda") || name.starts_with("__cuda"))
        .filter(|name| library != "cublas" || !name.starts_with("cublasLt"))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn library_file(library: &str) -> PathBuf {
    let name = format!("lib{library}.so");
    let from_variable = env::var_os("LIBRARY_PATH").map(|paths| env::split_paths(&paths).collect::<Vec<_>>());
    let from_toolkit =
        toolkit().map(|toolkit| ["lib64", "lib64/stubs", "lib", "lib/stubs"].map(|part| toolkit.join(part)));
    let system = [
        "/usr/local/cuda/lib64",
        "/usr/local/cuda/lib64/stubs",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
    ];
    let folders =
        from_variable.into_iter().flatten().chain(from_toolkit.into_iter().flatten()).chain(system.map(PathBuf::from));
    let found = folders.map(|folder| folder.join(&name)).find(|file| file.exists());
    found.unwrap_or_else(|| {
        panic!("{name} was found neither in LIBRARY_PATH nor in CUDA_HOME: see the README on building with CUDA")
    })
}
