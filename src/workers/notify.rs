//! The protocol of the notify sockets: datagrams of `KEY=VALUE` lines (sd_notify(3)). Which senders are believed is
//! not known here (`workers/notices.rs`).

use crate::core::event::WorkerFact;
use crate::core::{Event, Pid};
use crate::os::worker::notify_socket::LONGEST;
use crate::values::printable::printable;
use std::str::FromStr;
use std::time::Duration;

/// The longest status, in characters; the rest is cut.
const LONGEST_STATUS: usize = 200;

/// One line that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// `READY=1`: start-up, or a reload, is complete.
    Ready,
    /// `STOPPING=1`: the worker is about to end.
    Stopping,
    /// `RELOADING=1`: the worker reads its configuration again, and sends `READY=1` afterwards.
    Reloading,
    /// `WATCHDOG=1`: the worker is alive.
    Watchdog,
    /// `WATCHDOG=trigger`: the worker asks to be treated as if `WATCHDOG=1` were late.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`: from now on the worker sends `WATCHDOG=1` at least this often.
    WatchdogUsec(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: start-up or stop needs this time more, counted from now.
    ExtendTimeout(Duration),
    /// `X_PREFORK_REQUESTS=`: requests that the worker has served since its start.
    Requests(u64),
    /// `STATUS=`: a text for people; short, in one line, without control characters.
    Status(String),
    /// `ERRNO=`: the cause of an imminent failure (errno(3)).
    Errno(i32),
}

/// The number of lines of one datagram that count: no program has more to say at once, and each takes time.
const MOST_WORDS: usize = 16;

/// The events of a worker's datagram, in order. Unknown keys are ignored, as the protocol asks.
#[must_use]
pub fn events(pid: Pid, text: &[u8]) -> Vec<Event> {
    let fact = |word| match word {
        Word::Ready => Some(WorkerFact::SaidReady),
        Word::Requests(total) => Some(WorkerFact::RequestsReported { total }),
        Word::Watchdog => Some(WorkerFact::Pinged),
        Word::WatchdogTrigger => Some(WorkerFact::Triggered),
        Word::WatchdogUsec(every) => Some(WorkerFact::WatchdogSet { every }),
        Word::ExtendTimeout(by) => Some(WorkerFact::StartExtended { by }),
        Word::Stopping => Some(WorkerFact::SaidStopping),
        Word::Reloading | Word::Status(_) | Word::Errno(_) => None,
    };
    parse(text).filter_map(fact).take(MOST_WORDS).map(|fact| Event::Worker { pid, fact }).collect()
}

/// All lines that are understood, in order, repeated ones too. Other lines are ignored. So is the last line of a
/// datagram that was cut, because a part of a number is another number.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Word> + '_ {
    let whole = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if text.len() >= LONGEST => text.get(..end),
        None if text.len() >= LONGEST => None,
        _ => Some(text),
    };
    // C programs send the terminating zero of their string too.
    let whole = whole.unwrap_or_default();
    let zeros = whole.iter().rev().take_while(|byte| **byte == 0).count();
    let whole = whole.get(..whole.len().saturating_sub(zeros)).unwrap_or_default();
    whole.split(|byte| *byte == b'\n').filter_map(|line| word(line.strip_suffix(b"\r").unwrap_or(line)))
}

fn word(line: &[u8]) -> Option<Word> {
    let line = String::from_utf8_lossy(line);
    match line.split_once('=')? {
        ("READY", "1") => Some(Word::Ready),
        ("STOPPING", "1") => Some(Word::Stopping),
        ("RELOADING", "1") => Some(Word::Reloading),
        ("WATCHDOG", "1") => Some(Word::Watchdog),
        ("WATCHDOG", "trigger") => Some(Word::WatchdogTrigger),
        // No process can ping that often.
        ("WATCHDOG_USEC", usec) => {
            number(usec).filter(|usec| *usec > 0).map(Duration::from_micros).map(Word::WatchdogUsec)
        }
        ("EXTEND_TIMEOUT_USEC", usec) => number(usec).map(Duration::from_micros).map(Word::ExtendTimeout),
        ("X_PREFORK_REQUESTS", total) => number(total).map(Word::Requests),
        ("STATUS", status) => {
            Some(Word::Status(status.chars().take(LONGEST_STATUS).map(printable).collect()))
        }
        ("ERRNO", errno) => number(errno).map(Word::Errno),
        _ => None,
    }
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    fn words(text: impl AsRef<[u8]>) -> Vec<Word> {
        parse(text.as_ref()).collect()
    }

    #[test]
    fn each_key_is_understood() {
        let text = "READY=1\nSTOPPING=1\nRELOADING=1\nMONOTONIC_USEC=5\nWATCHDOG=1\nWATCHDOG=trigger\n\
                    WATCHDOG_USEC=20000000\nEXTEND_TIMEOUT_USEC=1500\nX_PREFORK_REQUESTS= 7 \n\
                    STATUS=a = b\nERRNO=2\nFDSTORE=1\nBARRIER=1";
        let expected = [
            Word::Ready,
            Word::Stopping,
            Word::Reloading,
            Word::Watchdog,
            Word::WatchdogTrigger,
            Word::WatchdogUsec(Duration::from_secs(20)),
            Word::ExtendTimeout(Duration::from_micros(1500)),
            Word::Requests(7),
            Word::Status("a = b".to_owned()),
            Word::Errno(2),
        ];
        assert_eq!(words(text), expected);
    }

    #[test]
    fn the_end_of_a_line_may_be_any_or_missing_and_what_is_said_twice_counts_twice() {
        for text in
            ["READY=1", "READY=1\n", "READY=1\r\n", "\n\nREADY=1\n\n", "READY=1\0", "x\nREADY=1\n\0\0"]
        {
            assert_eq!(words(text), [Word::Ready], "{text:?}");
        }
        let text = "X_PREFORK_REQUESTS=2\nX_PREFORK_REQUESTS=1\nREADY=1\nREADY=1";
        assert_eq!(words(text), [Word::Requests(2), Word::Requests(1), Word::Ready, Word::Ready]);
    }

    #[test]
    fn what_is_not_quite_it_is_nothing() {
        for text in [
            "",
            "\n",
            "\0",
            "=",
            "READY",
            "READY=",
            "READY=0",
            "READY=11",
            "ready=1",
            " READY=1",
            "READY=1 ",
            "READY=1\0STOPPING=1",
            "WATCHDOG=Trigger",
            "WATCHDOG_USEC=-1",
            "WATCHDOG_USEC=1e3",
            "EXTEND_TIMEOUT_USEC=18446744073709551616",
            "X_PREFORK_REQUESTS=",
            "X_PREFORK_REQUESTS=99999999999999999999999999",
            "ERRNO=2147483648",
        ] {
            assert_eq!(words(text), [], "{text:?}");
        }
        assert_eq!(words(b"READY=1\xff\nREADY\xff=1\n\xff\xfe\nSTOPPING=1"), [Word::Stopping]);
        let most = format!("EXTEND_TIMEOUT_USEC={0}\nX_PREFORK_REQUESTS={0}", u64::MAX);
        let expected = [Word::ExtendTimeout(Duration::from_micros(u64::MAX)), Word::Requests(u64::MAX)];
        assert_eq!(words(most), expected);
    }

    #[test]
    fn a_status_is_short_and_harmless() {
        let status = |text: &[u8]| match words(text).as_slice() {
            [Word::Status(status)] => status.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(status(b"STATUS=\x1b[2Jbusy\x07\x00!"), "\u{fffd}[2Jbusy\u{fffd}\u{fffd}!");
        assert_eq!(status("STATUS=\u{202e}ab\u{9b}".as_bytes()), "\u{fffd}ab\u{fffd}");
        assert_eq!(status(b"STATUS=\xff\xc3"), "\u{fffd}\u{fffd}");
        assert_eq!(status(b"STATUS="), "");
        let long = format!("STATUS={}", "\u{e9}".repeat(1000));
        assert_eq!(status(long.as_bytes()), "\u{e9}".repeat(LONGEST_STATUS));
    }

    #[test]
    fn the_last_line_of_a_datagram_that_was_cut_does_not_count() {
        let mut text = "READY=1\nSTATUS=".to_owned();
        let number = "\nX_PREFORK_REQUESTS=123";
        text.push_str(&"x".repeat(LONGEST - text.len() - number.len()));
        text.push_str(number);
        let status = Word::Status("x".repeat(LONGEST_STATUS));
        assert_eq!(words(&text[..LONGEST - 1]), [Word::Ready, status.clone(), Word::Requests(12)]);
        assert_eq!(words(&text), [Word::Ready, status]);
        assert_eq!(words("1".repeat(LONGEST)), []);
        assert_eq!(words("READY=1\n".repeat(LONGEST / 8)).len(), LONGEST / 8);
    }

    #[test]
    fn of_a_datagram_that_says_much_the_first_words_are_heard() {
        let pid = Pid(7);
        let text = [b"FDSTORE=1\nSTATUS=x\n".repeat(100), b"WATCHDOG=1\n".repeat(MOST_WORDS + 1)].concat();
        assert_eq!(events(pid, &text), vec![Event::Worker { pid, fact: WorkerFact::Pinged }; MOST_WORDS]);
        assert_eq!(events(pid, b"READY=1\nSTATUS=x"), [Event::Worker { pid, fact: WorkerFact::SaidReady }]);
    }

    /// Of pieces that mean something, alone or beside others.
    fn any_text(rng: &mut Rng) -> Vec<u8> {
        const PIECES: [&[u8]; 16] = [
            b"READY=1",
            b"\n",
            b"\n",
            b"\r\n",
            b"\0",
            b"=",
            b"STATUS=",
            b"WATCHDOG=",
            b"1",
            b"trigger",
            b"WATCHDOG_USEC=",
            b"X_PREFORK_REQUESTS=",
            b"18446744073709551615",
            b"\xff\x1b\x9b",
            "\u{202e}\u{e9}".as_bytes(),
            b"-",
        ];
        let mut piece = || PIECES[usize::try_from(rng.up_to(15)).unwrap()];
        (0..12).flat_map(|_| piece()).copied().collect()
    }

    #[test]
    fn each_line_is_heard_by_itself_and_each_status_is_harmless() {
        let mut rng = Rng::new(1);
        let mut heard = 0;
        for _ in 0..20_000 {
            let (one, other) = (any_text(&mut rng), any_text(&mut rng));
            let both = [&one[..], b"\n.\n", &other].concat();
            let expected = [words([&one[..], b"\n."].concat()), words(&other)].concat();
            assert_eq!(words(&both), expected, "{:?}", String::from_utf8_lossy(&both));
            heard += expected.len();
            for word in expected {
                if let Word::Status(status) = word {
                    assert_eq!(status, status.chars().map(printable).collect::<String>());
                }
            }
            assert!(events(Pid(1), &both.repeat(20)).len() <= MOST_WORDS);
        }
        assert!(heard > 5_000, "{heard}");
    }

    #[test]
    fn each_number_is_heard_as_it_is_said() {
        let mut rng = Rng::new(2);
        for _ in 0..1_000 {
            let bits = rng.up_to(63);
            let number = rng.up_to(u64::MAX >> bits).max(1);
            let every = Duration::from_micros(number);
            let errno = i32::try_from(number % 4_096).unwrap();
            let text = format!("X_PREFORK_REQUESTS={number}\nWATCHDOG_USEC={number}\nERRNO={errno}");
            assert_eq!(words(text), [Word::Requests(number), Word::WatchdogUsec(every), Word::Errno(errno)]);
        }
    }
}
