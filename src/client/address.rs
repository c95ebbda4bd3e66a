//! The address at which to ask.

use super::endpoint::EndpointKind;
use super::found::only_one;
use crate::settings::file::setting;
use crate::values::address::Address;
use crate::values::error::StartError;
use std::net::Ipv4Addr;
use std::path::Path;

/// What the command line says of it.
#[derive(Clone, Debug, Default)]
pub struct EndpointAddresses {
    /// The control socket.
    pub control: Option<Address>,
    /// The health endpoint.
    pub health: Option<Address>,
}

/// Where status is to be asked: at either, and of two at the control socket. If it is not said where, at the one that
/// runs here.
///
/// # Errors
/// If it is not known where, or it cannot be read.
pub fn of_status(given: &EndpointAddresses) -> Result<Address, StartError> {
    find_or_look(given, &[EndpointKind::Control, EndpointKind::Health])
}

/// Where orders are taken.
///
/// # Errors
/// As [`of_status`].
pub fn of_orders(given: &EndpointAddresses) -> Result<Address, StartError> {
    find_or_look(given, &[EndpointKind::Control])
}

/// Where health is to be asked: at either, and of two at the endpoint that is for it. A probe is not to guess, and does
/// not look.
///
/// # Errors
/// If it is not said where, or it cannot be read.
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

/// The command line, then what the one that runs was told, as it was told.
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

/// What the one that runs was told by what both of us can read: its environment, then the file that this names.
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

/// An address that stands for all is asked at the loopback address; `[::]` takes IPv4 too.
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
