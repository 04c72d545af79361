//! Working memory of kernels: what a thread needs again and again, and results that are written before they are read.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::element::Element;

/// One line of the cache. Vectors that lie across two lines cost twice the time.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    /// Kept from call to call: fresh pages cost more than the work that is done on them.
    static LINES: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Lends `work` as many values as asked for, at the start of a cache line. They hold whatever was left there: finite or not,
/// but always values.
pub(crate) fn with_scratch<T: Element, R>(values: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut lines = LINES.take();
    let needed = (values * size_of::<T>()).div_ceil(size_of::<Line>());
    if lines.len() < needed {
        lines.resize(needed, Line([0; 8]));
    }
    // SAFETY: f32 and f64, the only elements, are valid for any bits and need no more alignment than a line; the length
    // was just made to suffice, and the slice ends before `lines` goes back.
    #[expect(unsafe_code, reason = "one buffer serves both element types")]
    let slice = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<T>(), values) };
    let result = work(slice);
    LINES.set(lines);
    result
}

/// A result under construction, which threads fill at places of their own.
pub(crate) struct Filling<'a, T> {
    start: *mut T,
    len: usize,
    filled: PhantomData<&'a mut [T]>,
}

// SAFETY: it only hands out raw pointers; whoever writes through them answers for writing where nobody else does.
#[expect(
    unsafe_code,
    reason = "threads write to disjoint parts that no slice could describe, such as tiles of an image"
)]
unsafe impl<T: Send> Sync for Filling<'_, T> {}

impl<'a, T: Element> Filling<'a, T> {
    /// Over values that are there already.
    pub(crate) fn over(values: &'a mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), filled: PhantomData }
    }

    /// Where the value `at` lies.
    pub(crate) fn at(&self, at: usize) -> *mut T {
        assert!(at <= self.len, "a place past the end of the result");
        self.start.wrapping_add(at)
    }
}

/// The `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every value, and none from two threads at once.
#[expect(unsafe_code, reason = "writing zeros first would cost a pass over memory")]
pub(crate) unsafe fn filled<T: Element>(len: usize, fill: impl FnOnce(&Filling<'_, T>)) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    fill(&Filling { start: values.as_mut_ptr(), len, filled: PhantomData });
    // SAFETY: the capacity is there, and the caller promises that all of it was written.
    unsafe { values.set_len(len) };
    values
}

/// `len` values in chunks of `step` (the last may be shorter), each written by `fill(number, chunk)` on some thread. A chunk
/// is cleared just before, when it comes into the cache anyway: clearing all of them first would be a pass over memory.
#[expect(unsafe_code, reason = "the vector grows by what many threads wrote")]
pub(crate) fn in_chunks<T: Element>(len: usize, step: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut values: Vec<T> = Vec::with_capacity(len);
    let room = &mut values.spare_capacity_mut()[..len];
    room.par_chunks_mut(step.max(1)).enumerate().for_each(|(number, chunk)| {
        chunk.fill(MaybeUninit::new(T::ZERO));
        // SAFETY: all of the chunk was just written.
        fill(number, unsafe { &mut *(std::ptr::from_mut(chunk) as *mut [T]) });
    });
    // SAFETY: the chunks are the first `len` values, and all were written.
    unsafe { values.set_len(len) };
    values
}
