//! Read the command line, run, turn the result into an exit code.

#![no_main]

use prefork_init::cli::{self, Request};
use prefork_init::config::{Config, Environment};
use prefork_init::error::StartError;
use prefork_init::logging;
use prefork_init::supervisor::Supervisor;
use std::io::{Write, stdout};

prefork_init::entry_point!(exit_code);

fn exit_code() -> u8 {
    run().unwrap_or_else(|error| {
        logging::start_error(&error);
        error.code()
    })
}

fn run() -> Result<u8, StartError> {
    let options = match cli::read(std::env::args_os())? {
        Request::Run(options) => options,
        Request::Print(text) => {
            // Should nobody read, a signal may end it.
            prefork_init::os::signals::let_act();
            let _ = stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush());
            return Ok(0);
        }
    };
    logging::start(options.logging.log_format, options.logging.log_level);
    let config = Config::resolve(*options, &Environment::read())?;
    Ok(Supervisor::start(config)?.run())
}
