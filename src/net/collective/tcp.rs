//! Ranks that are connected through rank 0, by TCP.
//!
//! Rank 0 adds up in the order of the ranks and sends every rank the same bytes: a sum does not depend on who was first, and
//! all hold the same bits.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Collective;
use super::error::RankError;
use super::fate::Fate;
use super::frame::{Act, Head, Number, add_bytes, from_bytes, pack, to_bytes, unpack};
use super::lifeline::Lifeline;

/// A connection that is closed leaves this much time for the reason to come by the lifeline.
const REASON: Duration = Duration::from_millis(500);

/// A rank with its connections.
pub struct Tcp {
    rank: usize,
    ranks: usize,
    lines: Mutex<Lines>,
    fate: Arc<Fate>,
    lives: Arc<Vec<Lifeline>>,
}

/// Connections that carry numbers: of rank 0 to ranks 1, 2, …; of another rank to rank 0.
struct Lines {
    peers: Vec<TcpStream>,
    /// Of the next act.
    number: u64,
    bytes: Vec<u8>,
}

impl Tcp {
    /// Rank 0, connected to all others in their order.
    pub(super) fn hub(peers: Vec<TcpStream>, lives: Vec<Lifeline>, fate: Arc<Fate>) -> Result<Self, RankError> {
        let tcp = Self::new((0, peers.len() + 1), peers, lives, fate);
        let tcp = tcp.map_err(|error| RankError::NoMeeting { reason: error.to_string() })?;
        // Only rank 0 knows all the others. It must not keep its own lifelines alive.
        let lives = Arc::downgrade(&tcp.lives);
        tcp.fate.call(Box::new(move |error| {
            lives.upgrade().iter().flat_map(|lives| lives.iter()).for_each(|life| life.tell(error));
        }));
        Ok(tcp)
    }

    /// Another rank, connected to rank 0.
    pub(super) fn guest(place: (usize, usize), peer: TcpStream, life: Lifeline, fate: Arc<Fate>) -> io::Result<Self> {
        Self::new(place, vec![peer], vec![life], fate)
    }

    fn new(
        (rank, ranks): (usize, usize),
        peers: Vec<TcpStream>,
        lives: Vec<Lifeline>,
        fate: Arc<Fate>,
    ) -> io::Result<Self> {
        for peer in &peers {
            fate.shut_with(peer.try_clone()?);
        }
        let lines = Mutex::new(Lines { peers, number: 0, bytes: Vec::new() });
        Ok(Self { rank, ranks, lines, fate, lives: Arc::new(lives) })
    }

    /// Does an act on the connections, unless the work together has ended; an error ends it.
    fn act<R>(&self, act: impl FnOnce(&mut Lines) -> Result<R, Trouble>) -> Result<R, RankError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = self.fate.error() {
            return Err(error);
        }
        let done = act(&mut lines);
        lines.number += 1;
        done.map_err(|trouble| self.explain(trouble))
    }

    /// The error that ends the work together.
    fn explain(&self, trouble: Trouble) -> RankError {
        match trouble {
            Trouble::OutOfStep(error) => self.fate.end(error),
            Trouble::Closed { peer, error } => {
                let closed = Instant::now();
                while self.fate.error().is_none() && closed.elapsed() < REASON {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let reason = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it closed its connection".to_owned(),
                    _ => format!("its connection broke: {error}"),
                };
                self.fate.end(RankError::Lost { peer, reason })
            }
        }
    }

    fn sum<T: Number>(&self, values: &mut [T]) -> Result<(), RankError> {
        self.act(|lines| {
            let bytes = size_of_val(values);
            if self.rank == 0 {
                for peer in 1..self.ranks {
                    lines.receive(peer, (T::SUM, Some(bytes)))?;
                    add_bytes(&lines.bytes, values);
                }
                to_bytes(values, &mut lines.bytes);
                return lines.send_to_all(T::SUM);
            }
            to_bytes(values, &mut lines.bytes);
            lines.send(0, T::SUM)?;
            lines.receive(0, (T::SUM, Some(bytes)))?;
            from_bytes(&lines.bytes, values);
            Ok(())
        })
    }
}

impl Collective for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), RankError> {
        self.sum(values)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), RankError> {
        self.sum(values)
    }

    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        self.act(|lines| {
            if self.rank == 0 {
                let mut all = vec![mine.to_vec()];
                for peer in 1..self.ranks {
                    lines.receive(peer, (Act::Gather, None))?;
                    all.push(lines.bytes.clone());
                }
                lines.bytes = pack(&all);
                lines.send_to_all(Act::Gather)?;
                return Ok(all);
            }
            lines.bytes = mine.to_vec();
            lines.send(0, Act::Gather)?;
            lines.receive(0, (Act::Gather, None))?;
            unpack(&lines.bytes, self.ranks)
                .ok_or_else(|| Trouble::Closed { peer: 0, error: io::Error::other("what it gathered cannot be read") })
        })
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RankError> {
        self.act(|lines| {
            if self.rank == 0 {
                lines.bytes.clone_from(bytes);
                return lines.send_to_all(Act::Broadcast);
            }
            lines.receive(0, (Act::Broadcast, None))?;
            bytes.clone_from(&lines.bytes);
            Ok(())
        })
    }

    fn give_up(&self, reason: &str) {
        let error = RankError::GaveUp { peer: self.rank, reason: reason.to_owned() };
        if self.rank > 0 && self.fate.error().is_none() {
            self.lives.iter().for_each(|life| life.tell(&error));
        }
        self.fate.end(error);
    }

    fn trouble(&self) -> Option<RankError> {
        self.fate.error()
    }

    fn on_trouble(&self, hook: Box<dyn Fn(&RankError) + Send>) {
        self.fate.call(hook);
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("rank", &self.rank).field("ranks", &self.ranks).finish_non_exhaustive()
    }
}

/// What broke an act off.
enum Trouble {
    OutOfStep(RankError),
    Closed { peer: usize, error: io::Error },
}

impl Lines {
    fn stream(&mut self, peer: usize) -> &mut TcpStream {
        // Rank 0 has the others from 1 on; the others have rank 0 alone.
        &mut self.peers[peer.saturating_sub(1)]
    }

    /// Sends the bytes to one rank.
    fn send(&mut self, peer: usize, act: Act) -> Result<(), Trouble> {
        let head = Head::new(act, self.number, self.bytes.len());
        let bytes = std::mem::take(&mut self.bytes);
        let stream = self.stream(peer);
        let sent = head.write(stream).and_then(|()| stream.write_all(&bytes));
        self.bytes = bytes;
        sent.map_err(|error| Trouble::Closed { peer, error })
    }

    fn send_to_all(&mut self, act: Act) -> Result<(), Trouble> {
        (1..=self.peers.len()).try_for_each(|peer| self.send(peer, act))
    }

    /// Puts what a rank sends for this act in the place of the bytes; how many, where that is known.
    fn receive(&mut self, peer: usize, (act, bytes): (Act, Option<usize>)) -> Result<(), Trouble> {
        let closed = |error| Trouble::Closed { peer, error };
        let found = Head::read(self.stream(peer)).map_err(closed)?;
        let length = usize::try_from(found.bytes).unwrap_or(usize::MAX);
        let expected = Head::new(act, self.number, bytes.unwrap_or(length));
        if found != expected {
            let (expected, found) = (expected.describe(), found.describe());
            return Err(Trouble::OutOfStep(RankError::OutOfStep { peer, expected, found }));
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(length, 0);
        let read = self.stream(peer).read_exact(&mut bytes);
        self.bytes = bytes;
        read.map_err(closed)
    }
}
