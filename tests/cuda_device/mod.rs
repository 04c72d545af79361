//! The GPU that tests compute on.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::sync::OnceLock;

use s2pipe::net::config::Precision;
use s2pipe::net::ops::{DeviceError, Gpu, Numerics, OpenGpu};
use s2pipe::net::{Compute, GpuUse, NetError, Wanted};

/// Strict f32, the same bits every time.
pub(crate) const F32: GpuUse = GpuUse { precision: Precision::F32, deterministic: true, memory: None };

/// The first GPU, used in a way of one's own; without one says so and gives nothing.
pub(crate) fn compute(with: GpuUse) -> Option<Compute> {
    match Compute::open(Wanted::Gpu(0), with) {
        Ok(compute) => Some(compute),
        Err(NetError::Device(why)) => {
            say_why(&why);
            None
        }
        Err(other) => panic!("there is a GPU, but it cannot be used: {other}"),
    }
}

/// That a test is left out; panics where there is a GPU that should work.
fn say_why(why: &DeviceError) {
    match why {
        DeviceError::NoDriver { .. } | DeviceError::NoGpu => eprintln!("not tested, since there is no GPU: {why}"),
        other => panic!("there is a GPU, but it cannot be used: {other}"),
    }
}

/// The first GPU; without one says so and gives nothing.
pub(crate) fn open() -> Option<&'static OpenGpu> {
    static OPENED: OnceLock<Option<OpenGpu>> = OnceLock::new();
    let open = || Gpu::open(0, Numerics::default(), None).inspect_err(say_why).ok();
    OPENED.get_or_init(open).as_ref()
}
