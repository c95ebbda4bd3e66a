//! Read the command line, run, turn the result into an exit code.

#![no_main]

use prefork_init::app;
use prefork_init::os::entry;
use prefork_init::report::log;

prefork_init::entry_point!(exit_code);

fn exit_code() -> u8 {
    app::run(entry::args()).unwrap_or_else(|error| log::start_error(&error))
}
