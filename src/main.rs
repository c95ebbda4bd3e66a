//! Read the command line, run, turn the result into an exit code.

#![no_main]

use prefork_init::cli::{self, Options, Request};
use prefork_init::config::{Config, Environment};
use prefork_init::error::StartError;
use prefork_init::supervisor::Supervisor;
use prefork_init::{check, client, compat, explain, logging};

prefork_init::entry_point!(exit_code);

fn exit_code() -> u8 {
    run().unwrap_or_else(|error| logging::start_error(&error))
}

fn run() -> Result<u8, StartError> {
    let options = match compat::read(std::env::args_os())? {
        Request::Run(options) => options,
        Request::Client(request) => return client::run(&request),
        Request::Check(asked) => return check::run(*asked),
        Request::Print { text, to_stderr, code } => {
            logging::print(&text, to_stderr);
            return Ok(code);
        }
    };
    logging::start(&options);
    let given = options.given.clone();
    start(*options).map_err(|error| error.by_name(|flag| cli::name_of(flag, &given)))
}

fn start(options: Options) -> Result<u8, StartError> {
    let explains = options.logging.explain;
    let config = Config::resolve(options, &Environment::read())?;
    if !explains {
        return Ok(Supervisor::start(config)?.run());
    }
    logging::print(&explain::plan(&config)?, false);
    Ok(0)
}
