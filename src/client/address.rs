//! The address of the supervisor that is asked.

use super::endpoint::EndpointKind;
use super::found::only_one;
use crate::settings::file::setting;
use crate::values::address::Address;
use crate::values::error::StartError;
use std::net::Ipv4Addr;
use std::path::Path;

/// The addresses on the command line.
#[derive(Clone, Debug, Default)]
pub struct EndpointAddresses {
    pub control: Option<Address>,
    pub health: Option<Address>,
}

/// The address for status: the control socket, else the health endpoint. If none is given, that of the supervisor that
/// runs here.
///
/// # Errors
/// If no address is known, or it cannot be parsed.
pub fn of_status(given: &EndpointAddresses) -> Result<Address, StartError> {
    find_or_look(given, &[EndpointKind::Control, EndpointKind::Health])
}

/// The address for orders.
///
/// # Errors
/// As [`of_status`].
pub fn of_orders(given: &EndpointAddresses) -> Result<Address, StartError> {
    find_or_look(given, &[EndpointKind::Control])
}

/// The address for a health check: the health endpoint, else the control socket. A probe must not guess, so no
/// supervisor is searched for.
///
/// # Errors
/// If no address is given, or it cannot be parsed.
pub fn of_health(given: &EndpointAddresses) -> Result<Address, StartError> {
    let places = [EndpointKind::Health, EndpointKind::Control];
    if let Some(address) = find(given, &places)? {
        return reachable(address);
    }
    let (flag, variable) = EndpointKind::Health.names();
    let remedy = format!("give {flag}, or set {variable} as for the one that runs");
    Err(StartError::usage(flag, "it is not known where to ask", remedy))
}

fn find_or_look(given: &EndpointAddresses, places: &[EndpointKind]) -> Result<Address, StartError> {
    reachable(find(given, places)?.map_or_else(|| only_one(places), Ok)?)
}

/// The address on the command line, else in the supervisor's own settings.
fn find(given: &EndpointAddresses, places: &[EndpointKind]) -> Result<Option<Address>, StartError> {
    let on_command_line = places.iter().find_map(|place| given.at(*place));
    if on_command_line.is_some() {
        return Ok(on_command_line);
    }
    for place in places {
        if let Some(address) = settings(*place)? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

impl EndpointAddresses {
    fn at(&self, place: EndpointKind) -> Option<Address> {
        match place {
            EndpointKind::Control => self.control.clone(),
            EndpointKind::Health => self.health.clone(),
        }
    }
}

/// The supervisor's setting, as far as this process sees it: its environment, else the file that this names.
fn settings(place: EndpointKind) -> Result<Option<Address>, StartError> {
    let (flag, variable) = place.names();
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let (from, text) = match (value(variable), value("PREFORK_CONFIG")) {
        (Some(text), _) => (variable, text.to_string_lossy().into_owned()),
        (None, Some(file)) => match setting(Path::new(&file), flag.trim_start_matches('-'))? {
            Some(text) => (flag, text),
            None => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    let in_full = match place {
        EndpointKind::Control if !text.starts_with("unix:") => format!("unix:{text}"),
        EndpointKind::Control | EndpointKind::Health => text.clone(),
    };
    let address = Address::parse(&in_full);
    address.map(Some).map_err(|(problem, remedy)| StartError::value(from, text, problem, remedy))
}

/// Replaces a wildcard address by the loopback address; `[::]` takes IPv4 too.
fn reachable(address: Address) -> Result<Address, StartError> {
    match address {
        Address::Tcp(listens) if listens.port() == 0 => {
            let remedy = "name a port, or the one that its log tells";
            Err(StartError::value("--health", listens, "the kernel chose the port", remedy))
        }
        Address::Tcp(listens) if listens.ip().is_unspecified() => {
            Ok(Address::Tcp((Ipv4Addr::LOCALHOST, listens.port()).into()))
        }
        address => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_at_home() {
        for (told, asked) in [
            (":9000", "127.0.0.1:9000"),
            ("0.0.0.0:9000", "127.0.0.1:9000"),
            ("[::]:9000", "127.0.0.1:9000"),
            ("[::1]:9000", "[::1]:9000"),
            ("10.1.2.3:9000", "10.1.2.3:9000"),
            ("unix:/run/health", "unix:/run/health"),
        ] {
            let address = reachable(Address::parse(told).unwrap()).unwrap();
            assert_eq!(address.to_string(), asked);
        }
        assert!(reachable(Address::parse(":0").unwrap()).is_err());
    }

    #[test]
    fn the_command_line_says_where() {
        let health = Address::parse("127.0.0.1:9000").ok();
        let control = Address::parse("unix:/control").ok();
        let both = EndpointAddresses { control: control.clone(), health: health.clone() };
        assert_eq!(of_status(&both).ok(), control);
        assert_eq!(of_orders(&both).ok(), control);
        assert_eq!(of_health(&both).ok(), health);
        let one = EndpointAddresses { health: health.clone(), ..EndpointAddresses::default() };
        assert_eq!(of_status(&one).ok(), health);
    }
}
