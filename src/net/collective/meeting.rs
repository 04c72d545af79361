//! How ranks find each other: rank 0 waits at an address, the others come there and show the token.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::RankError;
use super::fate::Fate;
use super::lifeline::Lifeline;
use super::tcp::Tcp;
use super::token::Token;

/// First bytes on every connection.
const GREETING: &[u8; 16] = b"s2pipe ranks/1\r\n";
/// Bytes with which a rank introduces itself: greeting, token, rank, ranks, line.
const INTRODUCTION: usize = GREETING.len() + Token::LENGTH + 4 + 4 + 1;
/// Who connects must introduce itself within this time.
const MANNERS: Duration = Duration::from_secs(2);
/// From one look for something new to the next.
const LOOK: Duration = Duration::from_millis(10);
/// Wait for a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Line {
    Numbers = 0,
    Life = 1,
}

/// Rank 0's place to meet.
#[derive(Debug)]
pub struct Meeting {
    listener: TcpListener,
    port: u16,
    token: Token,
}

impl Meeting {
    /// Opens one on a free port of `address`: 127.0.0.1 for processes of this machine, 0.0.0.0 for others too.
    ///
    /// # Errors
    /// [`RankError::NoMeeting`].
    pub fn open(address: IpAddr) -> Result<Self, RankError> {
        let open = || {
            let listener = TcpListener::bind((address, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok(Self { listener, port, token: Token::draw()? })
        };
        open().map_err(|error: io::Error| RankError::NoMeeting { reason: error.to_string() })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the others must show.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Waits until ranks 1 to `ranks` - 1 have come, for `patience` at most. `go_on` is asked all the while.
    ///
    /// # Errors
    /// [`RankError::Missing`], and what `go_on` says.
    pub fn gather(
        self,
        ranks: usize,
        patience: Duration,
        go_on: &dyn Fn() -> Result<(), RankError>,
    ) -> Result<Tcp, RankError> {
        let started = Instant::now();
        let fate = Arc::new(Fate::default());
        let (mut numbers, mut lives) = (BTreeMap::new(), BTreeMap::new());
        while numbers.len() + lives.len() < 2 * (ranks - 1) {
            go_on()?;
            if let Some(error) = fate.error() {
                return Err(error);
            }
            if started.elapsed() >= patience {
                let missing = (1..ranks).filter(|r| !numbers.contains_key(r) || !lives.contains_key(r)).collect();
                return Err(RankError::Missing { ranks, missing, seconds: patience.as_secs() });
            }
            // Whoever does not know how to behave is no rank, and no reason to stop.
            let Ok(Some((stream, rank, line))) = self.guest(ranks) else { continue };
            match line {
                Line::Numbers if !numbers.contains_key(&rank) => {
                    numbers.insert(rank, stream);
                }
                Line::Life if !lives.contains_key(&rank) => {
                    let ending = Arc::clone(&fate);
                    let over = move |error| {
                        ending.end(error);
                    };
                    let life = Lifeline::new(stream, rank, over).map_err(|error| no_line(rank, &error))?;
                    lives.insert(rank, life);
                }
                _ => tracing::warn!("a second process says that it is rank {rank}: it is not let in"),
            }
        }
        Tcp::hub(numbers.into_values().collect(), lives.into_values().collect(), fate)
    }

    /// The next that comes and shows the token; `None` where nobody does.
    fn guest(&self, ranks: usize) -> io::Result<Option<(TcpStream, usize, Line)>> {
        let mut stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                std::thread::sleep(LOOK);
                return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(MANNERS))?;
        let mut said = [0; INTRODUCTION];
        stream.read_exact(&mut said)?;
        let (greeting, rest) = said.split_at(GREETING.len());
        let (token, rest) = rest.split_at(Token::LENGTH);
        if greeting != GREETING || !self.token.is(token) {
            return Ok(None);
        }
        let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        let (rank, of) = (number(0), number(4));
        let line = if rest[8] == Line::Life as u8 { Line::Life } else { Line::Numbers };
        if of != ranks || rank == 0 || rank >= ranks {
            stream.write_all(b"n")?;
            return Ok(None);
        }
        stream.write_all(b"y")?;
        stream.set_read_timeout(None)?;
        stream.set_nodelay(true)?;
        Ok(Some((stream, rank, line)))
    }
}

/// Comes to rank 0's meeting as rank `rank` of `ranks`, at one of `hosts`. Tries for `patience`: rank 0 may not be there yet.
///
/// # Errors
/// [`RankError::NotJoined`].
pub fn join(
    (hosts, port): (&[String], u16),
    token: &Token,
    (rank, ranks): (usize, usize),
    patience: Duration,
) -> Result<Tcp, RankError> {
    let started = Instant::now();
    loop {
        let mut problem = "no address is known".to_owned();
        for host in hosts {
            match join_at((host, port), token, (rank, ranks)) {
                Ok(joined) => return Ok(joined),
                Err(error) => problem = error.to_string(),
            }
        }
        if started.elapsed() >= patience {
            let address = format!("{}:{port}", hosts.join(" or "));
            return Err(RankError::NotJoined { rank, address, reason: problem });
        }
        std::thread::sleep(10 * LOOK);
    }
}

fn join_at(address: (&str, u16), token: &Token, (rank, ranks): (usize, usize)) -> io::Result<Tcp> {
    let numbers = introduce(address, token, (rank, ranks), Line::Numbers)?;
    let life = introduce(address, token, (rank, ranks), Line::Life)?;
    let fate = Arc::new(Fate::default());
    let ending = Arc::clone(&fate);
    let over = move |error| {
        ending.end(error);
    };
    let life = Lifeline::new(life, 0, over)?;
    Tcp::guest((rank, ranks), numbers, life, fate)
}

fn introduce(address: (&str, u16), token: &Token, (rank, ranks): (usize, usize), line: Line) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => stream,
            Err(error) => {
                refused = error;
                continue;
            }
        };
        let mut said = Vec::with_capacity(INTRODUCTION);
        said.extend_from_slice(GREETING);
        said.extend_from_slice(token.bytes());
        said.extend_from_slice(&(rank as u32).to_le_bytes());
        said.extend_from_slice(&(ranks as u32).to_le_bytes());
        said.push(line as u8);
        stream.write_all(&said)?;
        stream.set_read_timeout(Some(CONNECT))?;
        let mut answer = [0];
        stream.read_exact(&mut answer).map_err(|_| io::Error::other("it does not know this rank's token"))?;
        if answer != *b"y" {
            return Err(io::Error::other(format!("it is not waiting for a rank {rank} of {ranks}")));
        }
        stream.set_read_timeout(None)?;
        stream.set_nodelay(true)?;
        return Ok(stream);
    }
    Err(refused)
}

fn no_line(peer: usize, error: &io::Error) -> RankError {
    RankError::Lost { peer, reason: format!("nothing can be heard from it: {error}") }
}
