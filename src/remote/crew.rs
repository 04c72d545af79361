//! Doing the same with many things, several of them at a time: mostly, that is waiting.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Works through `items` with up to `most` threads, this one among them. The first failure ends it.
pub(super) fn each<T: Send, E: Send>(
    items: impl IntoIterator<Item = T>,
    most: usize,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let items: VecDeque<T> = items.into_iter().collect();
    let others = items.len().min(most).saturating_sub(1);
    let items = Mutex::new(items);
    let items = || items.lock().unwrap_or_else(PoisonError::into_inner);
    let body = || {
        loop {
            // The lock is given back before the work begins.
            let next = items().pop_front();
            let Some(item) = next else { return Ok(()) };
            if let Err(error) = work(item) {
                items().clear();
                return Err(error);
            }
        }
    };
    std::thread::scope(|scope| {
        // With fewer threads than wanted it takes longer.
        let start = |_| Builder::new().name("remote".into()).spawn_scoped(scope, body).ok();
        let others: Vec<_> = (0..others).filter_map(start).collect();
        let mine = body();
        let theirs = others.into_iter().map(|thread| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        theirs.fold(mine, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::each;

    #[test]
    fn everything_is_done_once_and_a_failure_ends_it() {
        let sum = AtomicU32::new(0);
        let add = |n| {
            sum.fetch_add(n, Ordering::Relaxed);
            Ok::<(), ()>(())
        };
        each(1..=100, 7, add).unwrap();
        each([], 7, add).unwrap();
        assert_eq!(sum.into_inner(), 5050);
        let done = AtomicU32::new(0);
        let fail = |n| {
            done.fetch_add(1, Ordering::Relaxed);
            if n == 3 { Err(n) } else { Ok(()) }
        };
        assert_eq!(each(0..1000, 1, fail), Err(3));
        assert_eq!(done.into_inner(), 4);
    }
}
