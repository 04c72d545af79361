//! Who is let in, and what is noticed.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn meeting() -> Meeting {
    Meeting::open(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap()
}

fn here() -> [String; 1] {
    ["127.0.0.1".to_owned()]
}

/// Ranks 0 and 1.
fn pair() -> (Tcp, Tcp) {
    let meeting = meeting();
    let (port, token) = (meeting.port(), meeting.token().clone());
    std::thread::scope(|scope| {
        let guest = scope.spawn(move || join((&here(), port), &token, (1, 2), PATIENCE).unwrap());
        (meeting.gather(2, PATIENCE, &|| Ok(())).unwrap(), guest.join().unwrap())
    })
}

#[test]
fn strangers_are_not_let_in_and_do_no_harm() {
    let meeting = meeting();
    let (port, token) = (meeting.port(), meeting.token().clone());
    std::thread::scope(|scope| {
        let hub = scope.spawn(|| meeting.gather(2, PATIENCE, &|| Ok(())).unwrap());
        let mut browser = TcpStream::connect(("127.0.0.1", port)).unwrap();
        browser.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: none\r\nAccept: */*\r\n\r\n").unwrap();
        assert_eq!(browser.read(&mut [0; 8]).unwrap_or(0), 0, "no answer");
        let gone = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(gone);
        let guess = Token::from_hex(&"0".repeat(64)).unwrap();
        let refused = join((&here(), port), &guess, (1, 2), Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains("does not know this rank's token"), "{refused}");
        let refused = join((&here(), port), &token, (1, 3), Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains("not waiting for a rank 1 of 3"), "{refused}");
        let guest = join((&here(), port), &token, (1, 2), PATIENCE).unwrap();
        let hub = hub.join().unwrap();
        let other = scope.spawn(move || guest.gather(b"b").unwrap());
        assert_eq!(hub.gather(b"a").unwrap(), [b"a", b"b"]);
        assert_eq!(other.join().unwrap(), [b"a", b"b"]);
    });
}

#[test]
fn ranks_that_do_not_come_are_named_and_waiting_can_be_called_off() {
    let error = meeting().gather(3, Duration::from_millis(50), &|| Ok(())).unwrap_err();
    assert_eq!(error, RankError::Missing { ranks: 3, missing: vec![1, 2], seconds: 0 });
    let error = meeting().gather(3, PATIENCE, &|| Err(RankError::CalledOff)).unwrap_err();
    assert_eq!(error, RankError::CalledOff);
    let closed = meeting().port();
    let token = Token::from_hex(&"0".repeat(64)).unwrap();
    let error = join((&here(), closed), &token, (1, 2), Duration::ZERO).unwrap_err();
    assert!(matches!(&error, RankError::NotJoined { rank: 1, .. }), "{error}");
}

#[test]
fn ranks_that_do_different_things_are_out_of_step() {
    let (hub, guest) = pair();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| guest.sum_f32(&mut [1.0, 2.0]));
        let error = hub.sum_f32(&mut [1.0]).unwrap_err();
        assert!(matches!(&error, RankError::OutOfStep { peer: 1, .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("expected SumF32 number 0 of 4 bytes, found SumF32 number 0 of 8 bytes"), "{said}");
        assert!(other.join().unwrap().is_err(), "the other ends too");
        // And it stays so.
        assert_eq!(hub.barrier().unwrap_err(), error);
    });
}

#[test]
fn why_a_rank_gives_up_is_told_to_the_others_while_they_wait() {
    let (hub, guest) = pair();
    let waiting = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| hub.barrier());
        std::thread::sleep(Duration::from_millis(50));
        guest.give_up("no more memory");
        let error = other.join().unwrap().unwrap_err();
        assert_eq!(error, RankError::GaveUp { peer: 1, reason: "no more memory".into() });
    });
    assert!(waiting.elapsed() < Duration::from_secs(5));
    let heard = std::sync::Arc::new(std::sync::Mutex::new(None));
    let hear = std::sync::Arc::clone(&heard);
    hub.on_trouble(Box::new(move |error| *hear.lock().unwrap() = Some(error.to_string())));
    assert_eq!(heard.lock().unwrap().as_deref(), Some("rank 1 gave up: no more memory"), "also who asks later");
}

#[test]
fn a_rank_that_leaves_when_all_is_done_is_no_loss_to_those_who_ask_nothing_more() {
    let (hub, guest) = pair();
    std::thread::scope(|scope| {
        scope.spawn(move || guest.barrier().unwrap());
        hub.barrier().unwrap();
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(hub.trouble(), None);
    let error = hub.barrier().unwrap_err();
    assert!(matches!(error, RankError::Lost { peer: 1, .. }), "{error}");
}
