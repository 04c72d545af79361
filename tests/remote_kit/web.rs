//! Small web servers: one that hands out a folder and takes nothing, and one that never answers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Hands out the files of a folder; whoever wants to put something there is refused.
pub(crate) struct Web(u16);

impl Web {
    pub(crate) fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                thread::spawn(move || answer(&stream, &folder));
            }
        });
        Self(port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.0)
    }
}

/// Answers one request. The connection ends with it.
fn answer(mut stream: &TcpStream, folder: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let headers: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let range = headers.iter().find_map(|h| h.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let file = folder.join(path.trim_start_matches('/'));
    let end = "last-modified: Mon, 30 Nov 2026 06:00:00 GMT\r\netag: \"one\"\r\nconnection: close\r\n";
    let (status, extra, body) = match (method, fs::read(&file)) {
        ("GET" | "HEAD", Err(_)) => ("404 Not Found", String::new(), Vec::new()),
        ("GET" | "HEAD", Ok(bytes)) => match range.as_deref().and_then(|range| range.split_once('-')) {
            Some((from, to)) => {
                let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
                let to = to.min(bytes.len() - 1);
                let part = format!("content-range: bytes {from}-{to}/{}\r\n", bytes.len());
                ("206 Partial Content", part, bytes[from..=to].to_vec())
            }
            None => ("200 OK", String::new(), bytes),
        },
        _ => ("403 Forbidden", String::new(), Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\n{extra}{end}content-length: {}\r\n\r\n", body.len()).ok()?;
    if method != "HEAD" {
        stream.write_all(&body).ok()?;
    }
    // What was sent along is read, or closing would cut our answer off.
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let _ = stream.read_to_end(&mut Vec::new());
    Some(())
}

/// Takes connections and never answers.
pub(crate) struct Silent(u16);

impl Silent {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
        Self(port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/cache", self.0)
    }
}
