//! An allocator that keeps large blocks for the next tensor of the same size.
//!
//! Every training step makes and drops the same tensors, hundreds of megabytes of them. The system's allocator gives blocks of
//! that size back to the kernel at once and asks for them again, and the kernel clears every page again: about a fifth of
//! a step. This one keeps them, but never so many that it holds more than twice of what was in use at the worst moment; and it
//! begins to do so when it is told that there is work of that kind: a program that only looks into its cache stays small.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Smaller blocks are the system allocator's.
const LARGE: usize = 128 * 1024;
/// Blocks kept at most; a deep network has some hundred tensors alive at a time.
const KEPT: usize = 1024;
/// Blocks start where a huge page can: one fault for each 2 MiB instead of one for each 4 KiB.
const HUGE: usize = 2 * 1024 * 1024;

/// Whether blocks are kept.
static KEEPING: AtomicBool = AtomicBool::new(false);

/// The global allocator of programs that train or predict:
///
/// ```ignore
/// #[global_allocator]
/// static BUFFERS: s2pipe::net::Buffers = s2pipe::net::Buffers::new();
/// ```
pub struct Buffers {
    blocks: Mutex<Blocks>,
}

impl Buffers {
    /// Nothing kept yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { blocks: Mutex::new(Blocks { kept: [(0, 0); KEPT], len: 0, kept_bytes: 0, in_use: 0, most: 0 }) }
    }

    /// From now on blocks are kept: there is work on large arrays to come.
    pub fn keep() {
        KEEPING.store(true, Ordering::Relaxed);
    }

    /// Bytes of the block for `layout`, if it is one of ours: rounded up to one of 16 sizes between two powers of two, so
    /// that tensors of nearly the same size share blocks.
    fn block(layout: Layout) -> Option<usize> {
        if layout.size() < LARGE || layout.align() > HUGE {
            return None;
        }
        let step = layout.size().checked_next_power_of_two()? / 32;
        layout.size().checked_next_multiple_of(step)
    }

    fn blocks<R>(&self, work: impl FnOnce(&mut Blocks) -> R) -> R {
        work(&mut self.blocks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A block of `size` bytes, and whether all of them are 0; null where the system has no more.
    fn take(&self, size: usize) -> (*mut u8, bool) {
        if let Some(address) = self.blocks(|blocks| blocks.take(size)) {
            return (ptr::with_exposed_provenance_mut(address), false);
        }
        while let Some((address, size)) = self.blocks(|blocks| blocks.surplus(size)) {
            give_back(address, size);
        }
        let start = map(size);
        if !start.is_null() {
            self.blocks(|blocks| blocks.used(size));
        }
        (start, true)
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers").finish_non_exhaustive()
    }
}

/// What is kept and what is in use.
struct Blocks {
    /// Addresses and sizes, the block that came back first first.
    kept: [(usize, usize); KEPT],
    len: usize,
    kept_bytes: usize,
    in_use: usize,
    /// The most that was ever in use.
    most: usize,
}

impl Blocks {
    /// The kept block of this size that was in use last: its first lines may still be in a cache.
    fn take(&mut self, size: usize) -> Option<usize> {
        let at = self.kept[..self.len].iter().rposition(|block| block.1 == size)?;
        self.used(size);
        Some(self.remove(at).0)
    }

    fn used(&mut self, size: usize) {
        self.in_use += size;
        self.most = self.most.max(self.in_use);
    }

    /// The oldest block, where what is held would become too much with `size` more bytes.
    fn surplus(&mut self, size: usize) -> Option<(usize, usize)> {
        let most = self.most.max(self.in_use + size);
        let too_much = self.kept_bytes + self.in_use + size > 2 * most;
        (self.len > 0 && too_much).then(|| self.remove(0))
    }

    fn remove(&mut self, at: usize) -> (usize, usize) {
        let block = self.kept[at];
        self.kept.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.kept_bytes -= block.1;
        block
    }

    /// Keeps a block; gives the oldest when there is no room for more, or this one where nothing is kept.
    fn put(&mut self, address: usize, size: usize) -> Option<(usize, usize)> {
        if !KEEPING.load(Ordering::Relaxed) {
            self.in_use -= size;
            return Some((address, size));
        }
        let out = if self.len == KEPT { Some(self.remove(0)) } else { None };
        self.kept[self.len] = (address, size);
        self.len += 1;
        self.kept_bytes += size;
        self.in_use -= size;
        out
    }
}

/// `size` bytes from the system, all 0, at a multiple of [`HUGE`]; null where it has no more.
fn map(size: usize) -> *mut u8 {
    let Some(length) = size.checked_add(HUGE) else { return ptr::null_mut() };
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice touches nothing that is there. What is cut off at both ends
    // lies in it and is used by nobody. Advice changes no content; a refusal changes nothing at all.
    #[expect(unsafe_code, reason = "memory from the system")]
    unsafe {
        let Ok(start) = mmap_anonymous(ptr::null_mut(), length, protection, MapFlags::PRIVATE) else {
            return ptr::null_mut();
        };
        let before = start.addr().next_multiple_of(HUGE) - start.addr();
        let block = start.byte_add(before);
        let used = size.next_multiple_of(4096);
        if before > 0 {
            let _ = munmap(start, before);
        }
        if length > before + used {
            let _ = munmap(block.byte_add(used), length - before - used);
        }
        #[cfg(target_os = "linux")]
        if KEEPING.load(Ordering::Relaxed) {
            let _ = madvise(block, used, Advice::LinuxHugepage);
        }
        block.cast()
    }
}

/// Returns a block to the system.
fn give_back(address: usize, size: usize) {
    // SAFETY: kept blocks were mapped with this size, and nobody uses them.
    #[expect(unsafe_code, reason = "memory of the system")]
    let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(address), size.next_multiple_of(4096)) };
}

// SAFETY: blocks are at least as large and as aligned as asked for, and each is in use or kept, never both: it leaves the
// list under its lock before it is handed out. Nothing here allocates.
#[expect(unsafe_code, reason = "an allocator")]
unsafe impl GlobalAlloc for Buffers {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Self::block(layout) {
            Some(size) => self.take(size).0,
            // SAFETY: the caller's layouts are valid.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layouts are valid; a block is at least as long as its layout.
        unsafe {
            let Some(size) = Self::block(layout) else { return System.alloc_zeroed(layout) };
            let (start, zeros) = self.take(size);
            if !zeros {
                start.write_bytes(0, layout.size());
            }
            start
        }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        match Self::block(layout) {
            // SAFETY: the caller's block came from `alloc` with this layout.
            None => unsafe { System.dealloc(start, layout) },
            Some(size) => {
                if let Some((address, size)) = self.blocks(|blocks| blocks.put(start.expose_provenance(), size)) {
                    give_back(address, size);
                }
            }
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        // SAFETY: the caller's block came from `alloc` with this layout; the copy is of what both have.
        unsafe {
            match (Self::block(layout), Self::block(new)) {
                (None, None) => System.realloc(start, layout, new_size),
                (old, fresh) if old == fresh => start,
                _ => {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(start, layout.size().min(new_size));
                        self.dealloc(start, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).unwrap()
    }

    #[test]
    #[expect(unsafe_code, reason = "an allocator")]
    fn a_block_is_kept_for_the_next_of_its_size_and_cleared_where_zeros_are_asked_for() {
        let buffers = Buffers::new();
        Buffers::keep();
        // SAFETY: every block is written within its size and freed once with its layout.
        unsafe {
            let first = buffers.alloc(layout(LARGE));
            assert!(first.addr().is_multiple_of(HUGE));
            first.write_bytes(7, LARGE);
            buffers.dealloc(first, layout(LARGE));
            let second = buffers.alloc_zeroed(layout(LARGE));
            assert_eq!(first, second);
            assert!(std::slice::from_raw_parts(second, LARGE).iter().all(|b| *b == 0));
            buffers.dealloc(second, layout(LARGE));
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "an allocator")]
    fn what_is_held_is_at_most_twice_of_what_was_in_use() {
        let buffers = Buffers::new();
        let sizes: Vec<usize> = (16..32).map(|i| i * LARGE / 4).collect();
        let most: usize = sizes.iter().sum();
        Buffers::keep();
        // SAFETY: as above.
        unsafe {
            for round in 1..10 {
                let sizes: Vec<usize> = sizes.iter().map(|size| size + round * LARGE).collect();
                let blocks: Vec<*mut u8> = sizes.iter().map(|size| buffers.alloc(layout(*size))).collect();
                assert!(blocks.iter().all(|b| !b.is_null()));
                sizes.iter().zip(blocks).for_each(|(size, block)| buffers.dealloc(block, layout(*size)));
                let (kept, in_use, seen) = buffers.blocks(|b| (b.kept_bytes, b.in_use, b.most));
                assert!(in_use == 0 && seen > most && kept <= 2 * seen, "{kept} {in_use} {seen}");
            }
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "an allocator")]
    fn growing_and_shrinking_keep_the_content() {
        let buffers = Buffers::new();
        // SAFETY: as above; reallocated blocks are known by their new size.
        unsafe {
            let mut start = buffers.alloc(layout(1000));
            start.write_bytes(5, 1000);
            let mut size = 1000;
            for next in [LARGE + 1, LARGE + 2, 9 * LARGE, 2 * LARGE, 500] {
                start = buffers.realloc(start, layout(size), next);
                size = next;
                assert!(std::slice::from_raw_parts(start, 500).iter().all(|b| *b == 5));
            }
            buffers.dealloc(start, layout(size));
        }
    }
}
