//! Read the command line, run, turn the result into an exit code.

use prefork_init::cli::{self, Request};
use prefork_init::config::{Config, Environment};
use prefork_init::error::StartError;
use prefork_init::logging;
use prefork_init::supervisor::Supervisor;
use std::process::ExitCode;

prefork_init::hold_signals_from_the_start!();

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("prefork-init: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn run() -> Result<u8, StartError> {
    let options = match cli::read(std::env::args_os())? {
        Request::Run(options) => options,
        Request::Print(text) => {
            print!("{text}");
            return Ok(0);
        }
    };
    logging::start(options.log_format, options.log_level);
    let config = Config::resolve(*options, &Environment::read())?;
    Ok(Supervisor::start(config)?.run())
}
