//! The orders of the control socket, and their paths.

use crate::core::Signal;
use crate::core::event::Request;
use crate::core::policy::MOST_WORKERS;
use crate::values::log::LogLevel;
use clap::ValueEnum;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A request to the core.
    Demand(Request),
    /// Send a signal to the worker of this slot, and to no other process; in init mode to the command, as slot 0.
    Signal { slot: u32, signal: Signal },
    /// From now on log lines of this level and above.
    LogLevel(LogLevel),
}

/// All paths, for an answer to an unknown path.
pub const PATHS: &str = "/reload, /recycle/SLOT, /scale/N, /stop, /signal/SLOT/SIGNAL, /log-level/LEVEL";

impl Order {
    /// Reads the path of a request; `None` if it is the path of no order.
    ///
    /// # Errors
    /// Which part of it is wrong, and how.
    #[must_use]
    pub fn read(path: &str) -> Option<Result<Self, &'static str>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (name, one, two) = (parts.next()?, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        let slot = |text: &str| text.parse().map_err(|_| "the slot is not a number: see /status");
        Some(match (name, one, two) {
            ("reload", None, None) => Ok(Self::Demand(Request::Reload)),
            ("stop", None, None) => Ok(Self::Demand(Request::Stop)),
            ("recycle", Some(text), None) => slot(text).map(|slot| Self::Demand(Request::Recycle { slot })),
            ("scale", Some(text), None) => {
                let workers = text.parse().ok().filter(|workers| (1..=MOST_WORKERS).contains(workers));
                workers
                    .map(|workers| Self::Demand(Request::Scale { workers }))
                    .ok_or("not a whole number from 1 to 1024: use one")
            }
            ("signal", Some(text), Some(signal)) => slot(text).and_then(|slot| {
                let signal =
                    Signal::parse(signal).ok_or("no such signal: use a name like USR1, or a number")?;
                Ok(Self::Signal { slot, signal })
            }),
            ("log-level", Some(level), None) => LogLevel::from_str(level, false)
                .map(Self::LogLevel)
                .map_err(|_| "no such level: use error, warn, info or debug"),
            (_, _, _) => return None,
        })
    }
}

impl Order {
    /// Whether the order needs workers.
    #[must_use]
    pub fn is_for_the_pool(self) -> bool {
        match self {
            Self::Demand(Request::Stop) | Self::LogLevel(_) => false,
            Self::Demand(_) | Self::Signal { .. } => true,
        }
    }
}

/// The path in the words of `ctl`.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demand(Request::Reload) => f.write_str("reload"),
            Self::Demand(Request::Recycle { slot }) => write!(f, "recycle {slot}"),
            Self::Demand(Request::Scale { workers }) => write!(f, "scale {workers}"),
            Self::Demand(Request::Stop) => f.write_str("stop"),
            Self::Signal { slot, signal } => write!(f, "signal {slot} {signal}"),
            Self::LogLevel(level) => write!(f, "log-level {}", level.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    #[test]
    fn the_paths_are_read() {
        for (path, shown) in [
            ("/reload", "reload"),
            ("/recycle/7", "recycle 7"),
            ("/scale/1024", "scale 1024"),
            ("/stop", "stop"),
            ("/signal/0/SIGUSR1", "signal 0 USR1"),
            ("/signal/3/RTMIN+3", "signal 3 RTMIN+3"),
            ("/log-level/debug", "log-level debug"),
        ] {
            assert_eq!(Order::read(path).unwrap().unwrap().to_string(), shown);
        }
        for none in ["", "/", "reload", "/reload/", "/reload/1", "/Reload", "/recycle", "/scale", "/signal/1"]
        {
            assert_eq!(Order::read(none), None, "{none}");
        }
        for wrong in [
            "/recycle/",
            "/recycle/x",
            "/recycle/-1",
            "/recycle/4294967296",
            "/scale/0",
            "/scale/1025",
            "/signal/0/NONE",
            "/signal/0/0",
            "/log-level/loud",
        ] {
            assert!(Order::read(wrong).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_order_that_is_read_is_bounded_and_has_a_path_of_its_own() {
        const PARTS: [&str; 18] = [
            "reload",
            "stop",
            "recycle",
            "scale",
            "signal",
            "log-level",
            "debug",
            "warn",
            "USR1",
            "SIGTERM",
            "RTMIN+3",
            "7",
            "0",
            "-1",
            "1025",
            "%2f",
            "\u{e9}",
            "",
        ];
        let mut rng = Rng::new(1);
        let mut read = 0;
        for _ in 0..50_000 {
            let parts = (0..=rng.up_to(3)).map(|_| PARTS[usize::try_from(rng.up_to(17)).unwrap()]);
            let path: String = parts.flat_map(|part| ["/", part]).collect();
            let Some(Ok(order)) = Order::read(&path) else { continue };
            let own = format!("/{}", order.to_string().replace(' ', "/"));
            assert_eq!(Order::read(&own), Some(Ok(order)), "{path}");
            assert_eq!(own.matches('/').count(), path.matches('/').count(), "{path}");
            if let Order::Demand(Request::Scale { workers }) = order {
                assert!((1..=MOST_WORKERS).contains(&workers), "{path}");
            }
            read += 1;
        }
        assert!(read > 1_000, "{read}");
    }
}
