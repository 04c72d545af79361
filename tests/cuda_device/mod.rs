//! The GPU that tests compute on.

use std::sync::OnceLock;

use s2pipe::net::ops::{DeviceError, Gpu, Numerics, OpenGpu};

/// The first GPU; without one says so and gives nothing.
pub(crate) fn open() -> Option<&'static OpenGpu> {
    static OPENED: OnceLock<Option<OpenGpu>> = OnceLock::new();
    let open = || match Gpu::open(0, Numerics::default(), None) {
        Ok(gpu) => Some(gpu),
        Err(why @ (DeviceError::NoDriver { .. } | DeviceError::NoGpu)) => {
            eprintln!("not tested, since there is no GPU: {why}");
            None
        }
        Err(other) => panic!("there is a GPU, but it cannot be used: {other}"),
    };
    OPENED.get_or_init(open).as_ref()
}
