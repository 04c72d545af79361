//! The shared cache beside a run: results are fetched before tasks are queued and pushed behind the run's back.

use std::io::{BufRead, IsTerminal, Write};

use super::of_run;
use crate::cli::args_remote::RemoteArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{Terminal, bytes};
use crate::engine::{Cache, Cancel, Reach};
use crate::remote::{Address, AddressError, OpenError, Progress, SharedCache};
use crate::spec::{Push, RemoteSettings};

/// Runs `body` with what can be reached; pushes what it made, or asks whether to.
pub(in crate::cli) fn share(
    args: &RemoteArgs,
    settings: &RemoteSettings,
    (cache, cancel, terminal): (&Cache, &Cancel, &Terminal),
    body: impl FnOnce(Reach<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some((url, push)) = of_run(args, settings) else { return body(Reach::default()) };
    let address = Address::parse(&url).map_err(wrong_address)?;
    let shared = match SharedCache::open(&address, push, Box::new(terminal.teller())) {
        Ok(shared) => shared,
        Err(error) => {
            terminal.warn(&format!("{error}; the run goes on without it"));
            return body(Reach::default());
        }
    };
    shared.beside(cache, cancel, || {
        let ended = body(Reach { remote: Some(&shared), ..Reach::default() });
        if push == Push::Ask && !cancel.is_cancelled() {
            ask(&shared, cache, &address, terminal);
        }
        let progress = shared.wait(cancel, |progress| terminal.pushing(progress.done, progress.total));
        terminal.close();
        tell(&progress, &address, terminal);
        ended
    })
}

/// Asks whether the results of this run are to be pushed; without a person they are not.
fn ask(shared: &SharedCache, cache: &Cache, address: &Address, terminal: &Terminal) {
    let (results, size) = shared.to_ask(cache);
    if results == 0 {
        return;
    }
    let what = format!("{results} new result(s), {}", bytes(size));
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return terminal.say(&format!("{what}: not pushed to {address}; `--push always` or `s2pipe cache push` does"));
    }
    eprint!("push {what}, to {address}? [y/N] ");
    let mut answer = String::new();
    // Who cannot be asked has not said yes.
    let _ = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        shared.push_made();
    }
}

/// Says what was pushed and what was not.
pub(super) fn tell(progress: &Progress, address: &Address, terminal: &Terminal) {
    let sent = progress.sent;
    if sent.results > 0 {
        let already = if sent.already > 0 { format!(" ({} were there)", sent.already) } else { String::new() };
        terminal.say(&format!("pushed {} result(s){already}, {}, to {address}", sent.results, bytes(sent.bytes)));
    }
    if progress.failed > 0 {
        terminal.say(&format!("{} result(s) were not pushed; `s2pipe cache push` tries again", progress.failed));
    }
}

pub(super) fn wrong_address(error: AddressError) -> Failure {
    Failure::usage(&error).help(error.help().to_owned())
}

pub(super) fn cannot_open(error: OpenError) -> Failure {
    Failure::failed(&error).help(error.help().to_owned())
}
