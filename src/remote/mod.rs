//! Results shared between machines: what a colleague or a build server has made is fetched, what this machine has made
//! is pushed. In S3, Google Cloud Storage, Azure Blob Storage, behind HTTP, or in a folder on a shared disk.
//!
//! ```text
//! s2pipe-remote              "s2pipe remote 1"; a newer number is refused
//! actions/ab/cdef….json      key -> outputs, record, seconds; with a digest of itself
//! trees/ab/cdef…             the record of a directory
//! files/ab/cdef….zst         the bytes of a file, compressed
//! ```
//!
//! What a result consists of and when it may enter the cache is the engine's business ([`crate::engine::Parcel`]); this
//! room carries. Everything here blocks; the asynchronous runtime below stays inside.

mod address;
mod backend;
mod bucket;
mod crew;
mod download;
mod fault;
mod fetch;
mod health;
mod names;
mod pack;
mod push;
mod queue;
mod shared;
mod upload;

pub use address::{Address, AddressError};
pub use fault::Fault;
pub use health::Tell;
pub use push::Sent;
pub use queue::Progress;
pub use shared::{Fetched, OpenError, RemoteState, SharedCache};
