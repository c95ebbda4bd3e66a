//! Reads our own variables beside another init's command line.

use crate::settings::defaults::Defaults;
use crate::settings::layers::{self, Parsed};
use crate::settings::options::{self, Options};
use crate::values::error::StartError;
use std::ffi::OsString;

/// Our own options from the environment alone, with this command.
pub(super) fn from_environment(
    command: Vec<OsString>,
    defaults: Defaults,
) -> Result<Box<Options>, StartError> {
    let words = ["prefork-init".into(), "--".into()];
    match layers::read(words.into_iter().chain(command))? {
        Parsed::Asks(mut options) => {
            options.defaults = defaults;
            Ok(options)
        }
        // No variable asks for that.
        Parsed::Print { .. } => Err(StartError::usage("environment", "asks for help", "unset it")),
    }
}

/// Whether `PREFORK_PAUSE` asks to run no command, which the original inits cannot do.
pub(super) fn asks_for_pause() -> bool {
    let value = std::env::var_os("PREFORK_PAUSE").filter(|value| !value.is_empty());
    // For any other value, our own parser reports the error.
    value.is_some_and(|value| options::boolean(&value).unwrap_or(true))
}
