//! Ranks as processes: the test's own program, started again.

pub(crate) mod discs;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use s2pipe::net::collective::{Collective, Meeting, Token, join};

/// Says to a process that it is a rank, and which: `rank ranks port token`.
const PLACE: &str = "S2PIPE_TEST_RANK";
/// The work, by name.
const WORK: &str = "S2PIPE_TEST_WORK";
/// The folder for what it finds.
const FOLDER: &str = "S2PIPE_TEST_FOLDER";

/// No meeting here comes near this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What this process is to do, where it was started as a rank.
pub(crate) struct Rank {
    pub(crate) collective: Arc<dyn Collective>,
    pub(crate) work: String,
    pub(crate) folder: PathBuf,
}

/// This process as a rank; `None` where it is the test.
pub(crate) fn this_rank() -> Option<Rank> {
    let place = std::env::var(PLACE).ok()?;
    let words: Vec<&str> = place.split(' ').collect();
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    let token = Token::from_hex(words[3]).unwrap();
    let hosts = ["127.0.0.1".to_owned()];
    let joined = join((&hosts, number(2) as u16), &token, (number(0), number(1)), PATIENCE).unwrap();
    let folder = std::env::var_os(FOLDER).unwrap().into();
    Some(Rank { collective: Arc::new(joined), work: std::env::var(WORK).unwrap(), folder })
}

/// Starts ranks 1 to `ranks` - 1 as processes that run the test `entry`, and comes together with them as rank 0.
pub(crate) fn company(entry: &str, ranks: usize, work: &str, folder: &Path) -> (Arc<dyn Collective>, Company) {
    let meeting = Meeting::open(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
    let start = |rank: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", entry, "--nocapture", "--test-threads=1"]);
        let place = format!("{rank} {ranks} {} {}", meeting.port(), meeting.token().to_hex());
        command.env(PLACE, place).env(WORK, work).env(FOLDER, folder).env("RAYON_NUM_THREADS", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    };
    let children = (1..ranks).map(start).collect();
    let hub = meeting.gather(ranks, PATIENCE, &|| Ok(())).unwrap();
    (Arc::new(hub), Company { children })
}

/// Processes; killed when they are dropped.
pub(crate) struct Company {
    pub(crate) children: Vec<Child>,
}

impl Company {
    /// All must end well.
    #[track_caller]
    pub(crate) fn end_well(mut self) {
        for child in &mut self.children {
            assert!(child.wait().unwrap().success(), "a rank failed");
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
