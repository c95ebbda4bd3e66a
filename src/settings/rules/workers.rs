//! The initial number of workers.

use crate::core::policy::MOST_WORKERS;
use crate::settings::given::useless;
use crate::settings::options::{Options, WorkerCount};
use crate::settings::rules::sizing::Sizing;
use crate::settings::surroundings::Surroundings;
use crate::values::amounts::number_within;
use crate::values::error::StartError;

/// The number, and its origin if it is computed.
pub(crate) fn resolve(
    options: &Options,
    surroundings: &Surroundings,
) -> Result<(u32, Option<Sizing>), StartError> {
    let worker_memory = options.pool.worker_memory.filter(|size| *size > 0);
    if worker_memory.is_none() {
        let problem = "memory does not count";
        useless(&options.given, &["memory_reserve"], problem, "add --worker-memory SIZE")?;
    }
    Ok(match (options.pool.workers, &surroundings.web_concurrency) {
        (Some(WorkerCount::Number(workers)), _) => (workers, None),
        (Some(WorkerCount::Auto), _) => {
            let capacity = (surroundings.capacity)();
            let sizing = Sizing { capacity, worker_memory, reserve: options.pool.memory_reserve };
            (sizing.workers(), Some(sizing))
        }
        (None, Some(text)) => (of_web_concurrency(&text.to_string_lossy())?, None),
        (None, None) => (1, None),
    })
}

/// `WEB_CONCURRENCY` as a number, with the limits of `--workers`; other programs do not know `auto`.
fn of_web_concurrency(text: &str) -> Result<u32, StartError> {
    number_within(text, 1, MOST_WORKERS).map_err(|problem| {
        StartError::value(
            "WEB_CONCURRENCY",
            text,
            problem.trim_end_matches(": use one"),
            "use one, or give --workers",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Mode;
    use crate::os::container::capacity::Capacity;
    use crate::settings::layers::{Parsed, read};
    use crate::settings::{self, PoolSettings, Settings};
    use std::ffi::OsString;

    fn resolve(line: &str) -> Result<Settings, String> {
        let surroundings = Surroundings {
            web_concurrency: Some("7".into()),
            capacity: || Capacity {
                processors: 2,
                quota: None,
                memory_limit: Some(1 << 30),
                machine_memory: None,
            },
            ..Surroundings::default()
        };
        match read(["prefork-init"].into_iter().chain(line.split(' ')).map(OsString::from)) {
            Ok(Parsed::Asks(options)) => {
                settings::resolve(*options, &surroundings).map_err(|e| e.to_string())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pool(line: &str) -> PoolSettings {
        let Mode::Pool(pool) = resolve(line).unwrap().mode else { panic!("not a pool: {line}") };
        *pool
    }

    #[test]
    fn the_number_can_be_left_to_us() {
        for (line, workers) in [
            ("-n auto x", 5),
            ("--workers auto --worker-memory 480M x", 2),
            ("-n auto --worker-memory 480M --memory-reserve 600M x", 1),
            ("-n auto --worker-memory 0 x", 5),
            // Allowed, as documentation in the configuration.
            ("-n 3 --worker-memory 480M --memory-reserve 1M x", 3),
            ("-b :80 --worker-memory 480M x", 7),
        ] {
            let policy = pool(line).policy;
            assert_eq!((policy.workers, policy.min_ready), (workers, 1), "{line}");
        }
        // With `auto`, --min-ready may be larger than the number.
        let told = pool("-n auto --worker-memory 480M --min-ready 3 x").sizing.unwrap().to_string();
        assert_eq!(told, "2 = min(2 x 2 CPUs + 1, (1024M - 64M) / 480M)");
        assert!(pool("-n 3 x").sizing.is_none());
    }

    #[test]
    fn what_has_no_use_or_no_meaning_is_named() {
        for (line, named, remedy) in [
            ("-n auto --memory-reserve 1G x", "--memory-reserve", "add --worker-memory"),
            ("-n auto --worker-memory much x", "--worker-memory 'much'", "512M"),
            ("-n all x", "--workers 'all'", "from 1 to 1024, nor auto"),
            ("-n 0 x", "--workers '0'", "from 1 to 1024, nor auto"),
            ("--worker-memory 1G x", "--worker-memory", "add --workers N"),
        ] {
            let error = resolve(line).unwrap_err();
            assert!(error.starts_with(named) && error.contains(remedy), "{line}: {error}");
        }
    }
}
