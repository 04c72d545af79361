//! The gate to NVIDIA's libraries: they are opened when a GPU is asked for, not when the program starts.
//!
//! candle links against the driver and the libraries. A program that did so as it stands could not even print its help on a
//! machine without them. So `build.rs` makes, for every function of theirs, a function of the same name in this program
//! that jumps to where a slot says; [`open`] fills the slots. Before that every call returns error 500, "not found".

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::Library;

use super::error::DeviceError;

// SAFETY: the text is `build.rs`'s: jumps through slots, and the slots.
#[expect(unsafe_code, reason = "assembly is not checked")]
mod jumps {
    std::arch::global_asm!(include_str!(concat!(env!("OUT_DIR"), "/gate.s")));
}

/// Library and name of every slot, in their order.
const NAMES: &str = include_str!(concat!(env!("OUT_DIR"), "/gate.txt"));

/// Folders to look in, besides those of the system: a list as in `LD_LIBRARY_PATH`.
pub(super) const FOLDERS: &str = "S2PIPE_CUDA_LIBRARIES";

/// A library, the numbers that its file may carry (newest first), and whether a GPU can be used without it.
struct Needed {
    name: &'static str,
    versions: &'static [u32],
    optional: bool,
}

const LIBRARIES: [Needed; 6] = [
    Needed { name: "cuda", versions: &[1], optional: false },
    Needed { name: "cudnn", versions: &[9], optional: false },
    Needed { name: "cublas", versions: &[13, 12], optional: false },
    Needed { name: "curand", versions: &[10], optional: false },
    // candle multiplies 8-bit matrices with the first and compiles kernels with the second; we do neither.
    Needed { name: "cublasLt", versions: &[13, 12], optional: true },
    Needed { name: "nvrtc", versions: &[13, 12], optional: true },
];

/// Opens the libraries, once; they stay open to the program's end.
///
/// # Errors
/// [`DeviceError::NoDriver`] or [`DeviceError::NoLibrary`].
pub(super) fn open() -> Result<(), DeviceError> {
    static OPENED: OnceLock<Result<(), DeviceError>> = OnceLock::new();
    let open = || {
        debug_assert_eq!(amiss(), None);
        LIBRARIES.iter().try_for_each(fill)
    };
    OPENED.get_or_init(open).clone()
}

/// What `build.rs` did not make as this file takes it to be: a library has no functions, or a slot leads nowhere. The runtime
/// library must be there under the name `!cudart`: no library here has that name, so it is never opened.
fn amiss() -> Option<String> {
    let has_slots = |library: &str| NAMES.lines().any(|line| line.split(' ').next() == Some(library));
    let without = LIBRARIES.iter().map(|library| library.name).chain(["!cudart"]).find(|name| !has_slots(name));
    let nowhere = slots().iter().zip(NAMES.lines()).find(|(slot, _)| slot.load(Ordering::Acquire).is_null());
    without
        .map(|name| format!("{name} has no slots"))
        .or_else(|| nowhere.map(|(_, name)| format!("{name} leads nowhere")))
}

fn fill(needed: &Needed) -> Result<(), DeviceError> {
    let library = match load(needed) {
        Ok(library) => library,
        Err(_) if needed.optional => return Ok(()),
        Err(reason) if needed.name == "cuda" => return Err(DeviceError::NoDriver { reason }),
        Err(reason) => return Err(DeviceError::NoLibrary { library: file_name(needed, needed.versions[0]), reason }),
    };
    for (slot, (name, function)) in slots().iter().zip(NAMES.lines().filter_map(|line| line.split_once(' '))) {
        if name == needed.name
            && let Some(address) = address(&library, function)
        {
            slot.store(address, Ordering::Release);
        }
    }
    // Never closed: the slots point into it.
    std::mem::forget(library);
    Ok(())
}

fn file_name(needed: &Needed, version: u32) -> String {
    format!("lib{}.so.{version}", needed.name)
}

/// The library under any of its versions: where the loader looks, then in the folders that the user named.
fn load(needed: &Needed) -> Result<Library, String> {
    let folders = std::env::var_os(FOLDERS).map(|list| std::env::split_paths(&list).collect::<Vec<_>>());
    let mut reason = String::new();
    for version in needed.versions {
        let name = PathBuf::from(file_name(needed, *version));
        let places = folders.iter().flatten().map(|folder| folder.join(&name));
        for place in places.chain([name.clone()]) {
            // SAFETY: NVIDIA's libraries may be loaded at any time and from any thread; what their initialisers do is
            // the same as if they had been linked.
            #[expect(unsafe_code, reason = "a library runs its initialisers when it is loaded")]
            match unsafe { Library::new(&place) } {
                Ok(library) => return Ok(library),
                Err(error) if reason.is_empty() => reason = words_of(&error),
                Err(_) => {}
            }
        }
    }
    Err(reason)
}

/// A library of NVIDIA's that not every machine has, under one of these version numbers.
///
/// # Errors
/// Why it cannot be opened.
#[cfg(feature = "nccl")]
pub(super) fn library(name: &'static str, versions: &'static [u32]) -> Result<Library, String> {
    load(&Needed { name, versions, optional: true })
}

/// The loader's own words, which lie one level down.
fn words_of(error: &libloading::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn address(library: &Library, function: &str) -> Option<*mut c_void> {
    // SAFETY: only the address is taken; who calls through the slot knows the function's type from NVIDIA's headers.
    #[expect(unsafe_code, reason = "the type of a loaded function cannot be checked")]
    let found = unsafe { library.get::<*mut c_void>(function).ok().and_then(|symbol| symbol.try_as_raw_ptr()) };
    found.filter(|address| !address.is_null())
}

/// The slots, one a line of [`NAMES`].
fn slots() -> &'static [AtomicPtr<c_void>] {
    // SAFETY: `build.rs` lays down as many pointers, aligned and writable, as it writes lines.
    #[expect(unsafe_code, reason = "the slots are defined in assembly, next to the jumps through them")]
    unsafe {
        unsafe extern "C" {
            static s2pipe_gate_slots: AtomicPtr<c_void>;
        }
        std::slice::from_raw_parts(&raw const s2pipe_gate_slots, NAMES.lines().count())
    }
}
