//! Whether a remote is worth asking: after some failures in a row it counts as gone for the rest of the run, with one
//! warning, and the run goes on without it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::fault::Fault;

/// So many failures in a row, and the remote counts as gone.
const MOST_FAILURES: u32 = 3;

/// How the room tells of what the person should know.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// Whether a remote is worth asking.
pub(super) struct Health {
    tell: Tell,
    address: String,
    failures: AtomicU32,
    gone: AtomicBool,
    read_only: AtomicBool,
}

impl Health {
    pub(super) fn new(address: String, tell: Tell) -> Self {
        let (gone, read_only) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { tell, address, failures: AtomicU32::new(0), gone, read_only }
    }

    /// Tells the person something.
    pub(super) fn tell(&self, text: &str) {
        (self.tell)(text);
    }

    /// It answered.
    pub(super) fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// A read failed. The remote is given up at once where nothing will change, else after some failures in a row.
    pub(super) fn read_failed(&self, fault: &Fault) {
        if *fault == Fault::Cancelled {
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let for_good = matches!(fault, Fault::Unreachable { .. } | Fault::Denied { .. } | Fault::NoCredentials);
        if for_good || failures >= MOST_FAILURES {
            self.give_up(&format!("{fault}; {}", fault.help()));
        }
    }

    /// A write failed.
    pub(super) fn write_failed(&self, fault: &Fault) {
        match fault {
            Fault::Denied { .. } if !self.read_only.swap(true, Ordering::Relaxed) => self.tell(&format!(
                "nothing more is pushed to the remote {}: {fault}; what others have pushed is still fetched",
                self.address
            )),
            Fault::Denied { .. } => {}
            _ => self.read_failed(fault),
        }
    }

    /// Gives the remote up, with the one warning.
    pub(super) fn give_up(&self, why: &str) {
        if !self.gone.swap(true, Ordering::Relaxed) {
            self.tell(&format!("the remote {} is left out of this run: {why}", self.address));
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn may_push(&self) -> bool {
        !self.is_gone() && !self.read_only.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn health() -> (Health, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let tell: Tell = Box::new(move |text| heard.lock().unwrap().push(text.to_owned()));
        (Health::new("s3://bucket".into(), tell), said)
    }

    fn slow() -> Fault {
        Fault::Slow { object: "x".into(), seconds: 5 }
    }

    #[test]
    fn failures_in_a_row_count_and_an_answer_ends_the_row() {
        let (health, said) = health();
        for _ in 0..2 {
            health.read_failed(&slow());
            health.read_failed(&slow());
            health.answered();
        }
        assert!(!health.is_gone() && said.lock().unwrap().is_empty());
        (0..9).for_each(|_| health.read_failed(&slow()));
        assert!(health.is_gone());
        let said = said.lock().unwrap();
        assert!(said.len() == 1 && said[0].contains("s3://bucket") && said[0].contains("5 s"), "{said:?}");
    }

    #[test]
    fn no_connection_is_enough_and_an_interrupted_run_is_nobodys_fault() {
        let (health, _) = health();
        (0..9).for_each(|_| health.read_failed(&Fault::Cancelled));
        assert!(!health.is_gone());
        health.write_failed(&Fault::Unreachable { said: "refused".into() });
        assert!(health.is_gone());
    }

    #[test]
    fn a_remote_that_takes_nothing_still_gives() {
        let (health, said) = health();
        (0..9).for_each(|_| health.write_failed(&Fault::Denied { object: "x".into(), said: String::new() }));
        assert!(!health.is_gone() && !health.may_push());
        assert_eq!(said.lock().unwrap().len(), 1);
    }
}
