//! Which connections have something in hand, by what the kernel remembers of them (`tcp_info`, tcp(7)). How the
//! kernel is asked is not known here.
//!
//! ```text
//!  bytes unread, or came in after the last that went out      a request in hand
//!  bytes came in, and none ever went out                      a request in hand
//!  bytes unsent, and some are acknowledged now and then       an answer that is being sent
//!  nothing came in yet, or bytes went out, not long ago       perhaps a request, or more of the answer, is on its way
//!  anything else                                              idle: a client that keeps its connection
//! ```

use crate::os::socket::connections::{Connection, Tcp};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// If no byte of an answer has been sent for this time, the answer is complete, unless it took longer up to then.
const PAUSE: Duration = Duration::from_millis(500);

/// If it took longer, for the same time again, but at most this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A client that acknowledges nothing for this time does not read, or is gone.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How long a connection counts as busy if a request cannot be told from an answer in the same tick.
const DOUBTFUL: Duration = Duration::from_secs(10);

/// The longest tick of the kernel's clock.
const TICK: Duration = Duration::from_millis(10);

/// What earlier looks have shown of connections.
pub struct Hands {
    drain_time: Duration,
    /// Answers that are being sent, by inode: the bytes that are acknowledged, and since when.
    sending: HashMap<u64, (u64, Instant)>,
    /// Whether it was logged that connections, or what they have in hand, cannot be seen.
    pub blindness_logged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    Nothing,
    Something,
    /// A request that follows the answer to an earlier one.
    Another,
}

impl Hands {
    pub fn new(drain_time: Duration) -> Self {
        Self { drain_time, sending: HashMap::new(), blindness_logged: false }
    }

    pub fn renew(&mut self, drain_time: Duration) {
        self.drain_time = drain_time;
    }

    /// Judges all connections in one look. No new connections have come for `for_so_long`.
    pub fn judge(
        &mut self,
        all: &HashMap<u64, Connection>,
        now: Instant,
        for_so_long: Duration,
    ) -> HashMap<u64, Hand> {
        let sending = all.iter().filter(|(_, connection)| connection.unsent > 0);
        let sending = sending.map(|(inode, connection)| {
            let confirmed = connection.tcp.map_or(u64::from(connection.unsent), |tcp| tcp.confirmed);
            let before = self.sending.get(inode).filter(|(far, _)| *far == confirmed);
            (*inode, *before.unwrap_or(&(confirmed, now)))
        });
        self.sending = sending.collect();
        let judged = all.iter().map(|(inode, connection)| {
            let since = self.sending.get(inode).map_or(now, |(_, since)| *since);
            let stuck = now.saturating_duration_since(since) >= STUCK_AFTER;
            (*inode, hand(connection, stuck, self.drain_time, for_so_long))
        });
        judged.collect()
    }
}

/// `stuck` is whether no byte that it has written was acknowledged for a while. No new connections have come for
/// `for_so_long`.
fn hand(connection: &Connection, stuck: bool, drain_time: Duration, for_so_long: Duration) -> Hand {
    let Connection { unread, unsent, tcp } = *connection;
    let Some(Tcp { received_ago, sent_ago, heard_ago, received, packets_out, .. }) = tcp else {
        return if unread > 0 || (unsent > 0 && !stuck) { Hand::Something } else { Hand::Nothing };
    };
    let since = |ago: Duration| ago.saturating_add(TICK) < for_so_long;
    let sends = unsent > 0 && !stuck && heard_ago < STUCK_AFTER;
    let has_request = unread > 0 || received_ago < sent_ago || (received > 0 && packets_out == 0);
    // In one tick data came in and an answer went out, and nothing was heard since. What was heard last is another
    // request, or the acknowledgement of the answer, which mostly comes later.
    let same_tick = received_ago == sent_ago && heard_ago == sent_ago;
    let perhaps = same_tick && packets_out > 0 && sent_ago < DOUBTFUL;
    if has_request || sends || perhaps {
        let is_another = perhaps || (has_request && since(sent_ago) && since(received_ago));
        return if is_another { Hand::Another } else { Hand::Something };
    }
    if unsent > 0 {
        return Hand::Nothing;
    }
    let pause = match received {
        0 => drain_time,
        _ => PAUSE.min(drain_time).max(received_ago.saturating_sub(sent_ago).min(LONGEST_PAUSE)),
    };
    // A client that has sent a request since then may send one request after the other.
    if sent_ago < pause && !(received > 0 && since(received_ago)) { Hand::Something } else { Hand::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DRAIN: Duration = Duration::from_secs(1);

    /// Bytes came in and went out these numbers of milliseconds ago.
    fn idle(received_ago: u32, sent_ago: u32) -> Connection {
        let [received_ago, sent_ago] = [received_ago, sent_ago].map(|ago| MS * ago);
        let heard_ago = received_ago.min(sent_ago);
        let tcp = Tcp { received_ago, sent_ago, heard_ago, received: 1, confirmed: 1, packets_out: 1 };
        Connection { unread: 0, unsent: 0, tcp: Some(tcp) }
    }

    fn hand_of(connection: Connection) -> Hand {
        hand(&connection, false, DRAIN, Duration::ZERO)
    }

    #[test]
    fn a_request_is_in_hand_until_something_went_out_after_it() {
        assert_eq!(hand_of(idle(3_000, 9_000)), Hand::Something, "not answered");
        assert_eq!(hand_of(idle(9_000, 8_900)), Hand::Nothing, "answered long ago");
        assert_eq!(hand_of(Connection { unread: 1, ..idle(9_000, 8_900) }), Hand::Something, "not read");
        assert_eq!(hand_of(idle(500, 490)), Hand::Something, "more of the answer may come");
        assert_eq!(hand_of(idle(600, 510)), Hand::Nothing, "a client that keeps its connection");
    }

    #[test]
    fn an_answer_that_took_long_may_pause_longer() {
        assert_eq!(hand_of(idle(4_000, 1_500)), Hand::Something, "2.5 s of it, and 1.5 s of silence");
        assert_eq!(hand_of(idle(5_100, 2_600)), Hand::Nothing);
        assert_eq!(hand_of(idle(600_000, 4_900)), Hand::Something);
        assert_eq!(hand_of(idle(600_000, 5_000)), Hand::Nothing, "an hour of it is no reason for an hour");
    }

    #[test]
    fn what_came_in_one_tick_is_told_apart_by_what_went_out() {
        let same = |ago, packets_out| {
            let tcp = idle(ago, ago).tcp.map(|tcp| Tcp { packets_out, ..tcp });
            hand_of(Connection { unread: 0, unsent: 0, tcp })
        };
        assert_eq!(same(99_000, 0), Hand::Something, "a request came as the connection did");
        assert_eq!(same(9_000, 3), Hand::Another, "perhaps one is not answered");
        assert_eq!(same(10_000, 3), Hand::Nothing, "hardly");
    }

    #[test]
    fn who_has_just_connected_may_be_about_to_ask_for_the_drain_time() {
        let new = |ago: u32| {
            let Connection { tcp, .. } = idle(ago, ago);
            Connection {
                unread: 0,
                unsent: 0,
                tcp: tcp.map(|tcp| Tcp { received: 0, packets_out: 0, ..tcp }),
            }
        };
        assert_eq!(hand_of(new(999)), Hand::Something);
        assert_eq!(hand_of(new(1_000)), Hand::Nothing);
        assert_eq!(hand(&new(0), false, Duration::ZERO, Duration::ZERO), Hand::Nothing);
    }

    #[test]
    fn who_sends_one_request_after_the_other_is_told_apart_once_answered() {
        let long = DRAIN * 2;
        assert_eq!(hand(&idle(1_000, 3_000), false, DRAIN, long), Hand::Something, "the first since");
        assert_eq!(hand(&idle(1_000, 1_500), false, DRAIN, long), Hand::Another);
        assert_eq!(hand(&idle(1_500, 1_490), false, DRAIN, long), Hand::Nothing);
        assert_eq!(hand(&idle(100, 90), false, DRAIN, long), Hand::Nothing, "between two of them");
    }

    #[test]
    fn an_answer_that_the_client_does_not_take_is_given_up() {
        let sent = Connection { unsent: 9, ..idle(9_000, 8_000) };
        let heard = |ago: u32| {
            let tcp = sent.tcp.map(|tcp| Tcp { heard_ago: MS * ago, ..tcp });
            Connection { tcp, ..sent }
        };
        assert_eq!(hand_of(heard(100)), Hand::Something);
        assert_eq!(hand_of(heard(5_000)), Hand::Nothing, "nobody is there");
        assert_eq!(hand(&heard(100), true, DRAIN, Duration::ZERO), Hand::Nothing, "it reads nothing");

        let mut hands = Hands::new(DRAIN);
        let begin = Instant::now();
        let mut looks = |after: u64, confirmed: u64| {
            let tcp = heard(100).tcp.map(|tcp| Tcp { confirmed, ..tcp });
            let all = HashMap::from([(7, Connection { tcp, ..sent })]);
            hands.judge(&all, begin + Duration::from_secs(after), Duration::ZERO)[&7]
        };
        assert_eq!(
            [looks(0, 1), looks(4, 1), looks(5, 1)],
            [Hand::Something, Hand::Something, Hand::Nothing]
        );
        assert_eq!([looks(6, 2), looks(10, 2), looks(11, 3)], [Hand::Something; 3], "it moves");
    }

    #[test]
    fn of_a_unix_socket_only_what_waits_in_it_is_known() {
        let unix = |unread, unsent| Connection { unread, unsent, tcp: None };
        assert_eq!(
            [unix(0, 0), unix(1, 0), unix(0, 1)].map(hand_of),
            [Hand::Nothing, Hand::Something, Hand::Something]
        );
    }
}
