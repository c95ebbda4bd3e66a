//! Addresses that cannot be bound together.

use crate::settings::options::{self, Options};
use crate::values::address::Address;
use crate::values::error::StartError;

/// Checks that all addresses can be bound together; `bind` has those of the workers' listeners.
///
/// # Errors
/// The first address that collides with an earlier one, and that one.
pub(crate) fn none_collide(options: &Options, bind: &[Address]) -> Result<(), StartError> {
    let of_workers = if options.pool.bind.is_empty() { "PORT" } else { "--bind" };
    let endpoint = &options.endpoint;
    let bind = bind.iter().map(|address| (of_workers, address));
    let others = [("--health", &endpoint.health), ("--control", &endpoint.control)];
    let others = others.into_iter().filter_map(|(option, address)| Some((option, address.as_ref()?)));
    let all: Vec<(&str, &Address)> = bind.chain(others).collect();
    for (index, (option, address)) in all.iter().enumerate() {
        let taken = all.iter().take(index).find(|(_, earlier)| address.collides_with(earlier));
        if let Some((other, earlier)) = taken {
            let other = options::name_of(other, &options.given).unwrap_or_else(|| (*other).to_owned());
            let problem = format!("it collides with {other} '{earlier}'");
            let remedy = match address {
                Address::Tcp(_) => "use another port for one of them, or leave one out",
                Address::Unix(_) => "use another path for one of them, or leave one out",
            };
            return Err(StartError::value(option, address, problem, remedy));
        }
    }
    Ok(())
}
