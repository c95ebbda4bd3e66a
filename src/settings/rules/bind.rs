//! The addresses that a pool binds.

use super::activation::Activation;
use crate::settings::given::useless;
use crate::settings::options::{Options, Source};
use crate::settings::placeholders::{Command, FD};
use crate::settings::surroundings::Surroundings;
use crate::values::address::Address;
use crate::values::error::StartError;
use tracing::warn;

/// The addresses to bind, beside inherited sockets.
pub(crate) fn resolve(
    options: &Options,
    surroundings: &Surroundings,
    command: &Command,
    adopted: &Activation,
) -> Result<Vec<Address>, StartError> {
    let bound = addresses(options, surroundings, command, adopted)?;
    if !bound.iter().any(|address| matches!(address, Address::Unix(_))) {
        let remedy = "add --bind unix:/path, or leave it out";
        useless(&options.given, &["bind_mode", "bind_group"], "no unix socket is bound", remedy)?;
    }
    Ok(bound)
}

/// A flag is meant for this run. A variable and PORT may be meant for runs without inherited sockets.
fn addresses(
    options: &Options,
    surroundings: &Surroundings,
    command: &Command,
    adopted: &Activation,
) -> Result<Vec<Address>, StartError> {
    let by_variable = options.given.iter().any(|given| given.field == "bind" && given.source != Source::Flag);
    if !adopted.addresses.is_empty() && (by_variable || options.pool.bind.is_empty()) {
        if by_variable {
            warn!(
                "bind is ignored: the sockets given by LISTEN_FDS take its place; --bind would add to them"
            );
        }
        return Ok(Vec::new());
    }
    if !options.pool.bind.is_empty() {
        return Ok(options.pool.bind.clone());
    }
    match &surroundings.port {
        Some(port) => {
            let port = port.to_string_lossy();
            let address = Address::parse(&format!(":{port}"));
            let address = address.map_err(|(problem, _)| {
                StartError::value("PORT", &port, problem, "set it to a number, or give --bind ADDR")
            })?;
            Ok(vec![address])
        }
        None if command.mentions(FD) => {
            let remedy = "add --bind ADDR or set PORT; --no-placeholders if {fd} is meant literally";
            Err(StartError::value("COMMAND", FD, "there is no listener for it", remedy))
        }
        None => Ok(Vec::new()),
    }
}
