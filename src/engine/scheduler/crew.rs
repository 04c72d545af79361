//! The threads that run tasks. One that has ended its task waits for the next: starting a thread, with a stack of its own,
//! takes a good part of what a short task takes.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

/// Stack of a task's thread: kinds may recurse deeper than the usual 2 MiB allow.
const STACK: usize = 16 << 20;

type Work<'s> = Box<dyn FnOnce() + Send + 's>;

/// As many threads as tasks ever ran side by side. They end when this is dropped.
pub(super) struct Crew<'s> {
    orders: Sender<Work<'s>>,
    queue: Arc<Mutex<Receiver<Work<'s>>>>,
    threads: usize,
}

impl<'s> Crew<'s> {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        let (orders, queue) = channel();
        Self { orders, queue: Arc::new(Mutex::new(queue)), threads: 0 }
    }

    /// Has work done. `running`: how many pieces of work are in progress, this one included.
    ///
    /// # Errors
    /// When a thread is needed and cannot be started.
    pub(super) fn run(&mut self, scope: &'s Scope<'s, '_>, running: usize, work: Work<'s>) -> io::Result<()> {
        if self.threads < running {
            let queue = Arc::clone(&self.queue);
            let body = move || {
                loop {
                    // Held only while taking an order.
                    let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match order {
                        Ok(work) => work(),
                        Err(_) => return,
                    }
                }
            };
            Builder::new().stack_size(STACK).spawn_scoped(scope, body)?;
            self.threads += 1;
        }
        // The queue lives as long as this.
        let _ = self.orders.send(work);
        Ok(())
    }
}
