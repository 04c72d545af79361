//! A second connection between two ranks, on which each tells the other that it is alive, and why it leaves.
//!
//! A rank may compute for minutes without a word on the connection that carries numbers. On this one it says so every
//! second, from a thread of its own: a process that is killed, stopped or on a machine that was cut off is noticed within
//! seconds, a slow one is waited for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::RankError;

/// From one sign of life to the next.
const BEAT: Duration = Duration::from_secs(1);
/// Wait for a sign of life.
const WAIT: Duration = Duration::from_secs(5);
/// So many waits without a sign, and a rank is lost. More than one: a process that is stopped and goes on finds one wait
/// over that was not the other's fault.
const WAITS: u32 = 4;
/// Longest text of a reason.
const LONGEST: usize = 4096;

/// What is said on a lifeline.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Word {
    /// I am alive.
    Beat,
    /// I have done all my work.
    Bye,
    /// It is over, and why.
    Over(RankError),
}

/// One end of a lifeline.
pub(super) struct Lifeline {
    stream: Arc<Mutex<TcpStream>>,
    /// Dropped to end the beats.
    _beats: Sender<()>,
}

impl Lifeline {
    /// Starts to tell and to listen. `over` is called, once and from another thread, when `peer` is gone or has told why it
    /// leaves; not when it says that its work is done.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(
        stream: TcpStream,
        peer: usize,
        over: impl FnOnce(RankError) + Send + 'static,
    ) -> io::Result<Self> {
        let listening = stream.try_clone()?;
        listening.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        let stream = Arc::new(Mutex::new(stream));
        std::thread::Builder::new().name(format!("from rank {peer}")).spawn(move || {
            if let Some(error) = listen(listening, peer) {
                over(error);
            }
        })?;
        let (beats, stop) = channel();
        let beating = Arc::clone(&stream);
        std::thread::Builder::new().name(format!("to rank {peer}")).spawn(move || {
            while stop.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                // Who does not listen is noticed by the other thread.
                let _ = say(&beating, &Word::Beat);
            }
        })?;
        Ok(Self { stream, _beats: beats })
    }

    /// Tells why it is over.
    pub(super) fn tell(&self, error: &RankError) {
        let _ = say(&self.stream, &Word::Over(error.clone()));
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let _ = say(&self.stream, &Word::Bye);
        let _ = self.stream.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
    }
}

fn say(stream: &Mutex<TcpStream>, word: &Word) -> io::Result<()> {
    let bytes = match word {
        Word::Beat => vec![b'.'],
        Word::Bye => vec![b'b'],
        Word::Over(RankError::GaveUp { peer, reason }) => with_reason(b'g', *peer, reason),
        Word::Over(RankError::Lost { peer, reason }) => with_reason(b'l', *peer, reason),
        Word::Over(other) => with_reason(b'g', 0, &other.to_string()),
    };
    stream.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes)
}

fn with_reason(tag: u8, peer: usize, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(LONGEST);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(peer as u32).to_le_bytes());
    bytes.extend_from_slice(&(end as u32).to_le_bytes());
    bytes.extend_from_slice(&reason.as_bytes()[..end]);
    bytes
}

/// Listens to the end; `None`: the other has done its work.
fn listen(mut stream: TcpStream, peer: usize) -> Option<RankError> {
    let lost = |reason: String| Some(RankError::Lost { peer, reason });
    let mut silent = 0;
    loop {
        match hear(&mut stream) {
            Ok(Word::Beat) => silent = 0,
            Ok(Word::Bye) => return None,
            Ok(Word::Over(error)) => return Some(error),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                silent += 1;
                if silent == WAITS {
                    return lost(format!("no sign of life for {} s", (WAIT * WAITS).as_secs()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return lost("its connection was closed: its process has ended".to_owned()),
        }
    }
}

fn hear(stream: &mut TcpStream) -> io::Result<Word> {
    let mut tag = [0];
    stream.read_exact(&mut tag)?;
    match tag[0] {
        b'.' => Ok(Word::Beat),
        b'b' => Ok(Word::Bye),
        tag @ (b'g' | b'l') => {
            let peer = number(stream)? as usize;
            let mut reason = vec![0; (number(stream)? as usize).min(LONGEST)];
            stream.read_exact(&mut reason)?;
            let reason = String::from_utf8_lossy(&reason).into_owned();
            Ok(Word::Over(match tag {
                b'g' => RankError::GaveUp { peer, reason },
                _ => RankError::Lost { peer, reason },
            }))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn number(stream: &mut TcpStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}
