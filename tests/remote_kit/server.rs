//! A real S3-compatible server, in a process of its own that can be killed and started again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

/// What the environment says when the server is used. The secret is one that is easily found again.
pub(crate) const SECRET: &str = "s2pipe-secret-that-nobody-may-see-0123456789";

/// The server's program, where it has been installed (`tests/remote/server.sh`); says so where not.
pub(crate) fn installed() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/s3-server/bin/s3s-fs");
    let program = std::env::var_os("S2PIPE_TEST_S3").map_or(here, PathBuf::from);
    if !program.is_file() {
        eprintln!("NOT TESTED with a server: there is no {}; run tests/remote/server.sh", program.display());
    }
    Some(program).filter(|program| program.is_file())
}

/// A server with one bucket, `shared`, whose objects are files below [`Server::bucket`].
pub(crate) struct Server {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    endpoint: String,
}

impl Server {
    pub(crate) fn start(program: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shared")).unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut server = Self { program: program.to_owned(), folder, port, child: None, endpoint };
        server.start_again();
        server
    }

    /// Starts it with what it had.
    pub(crate) fn start_again(&mut self) {
        let port = self.port.to_string();
        let args = ["--host", "127.0.0.1", "--port", &port, "--access-key", "tester", "--secret-key", SECRET];
        let mut command = Command::new(&self.program);
        command.args(args).arg(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// Where the objects are.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// Where the server keeps everything, parts of unfinished objects included.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The variables that lead to it.
    pub(crate) fn variables(&self) -> [(&str, &str); 5] {
        variables(&self.endpoint)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// The variables that lead to a server.
fn variables(endpoint: &str) -> [(&str, &str); 5] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "tester"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]
}

/// Another server: pip's moto, which keeps objects in memory.
pub(crate) struct Moto {
    child: Child,
    port: u16,
    endpoint: String,
}

impl Moto {
    /// Starts it, where it is installed; says so where not.
    pub(crate) fn start() -> Option<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin/moto_server");
        let program = if here.is_file() { here } else { PathBuf::from("moto_server") };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            eprintln!("NOT TESTED with moto: it is not installed; run tests/remote/server.sh");
            return None;
        };
        let moto = Self { child, port, endpoint: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "moto does not start");
            thread::sleep(Duration::from_millis(50));
        }
        Some(moto)
    }

    pub(crate) fn make_bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "PUT /{name} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The variables that lead to it.
    pub(crate) fn variables(&self) -> [(&str, &str); 5] {
        variables(&self.endpoint)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
