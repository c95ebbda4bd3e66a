//! Finds the supervisor that runs here, for a client without an address.

use super::endpoint::EndpointKind;
use crate::os::process::sign::{self, PresenceSign};
use crate::values::address::Address;
use crate::values::error::StartError;

/// The address of the only pool that runs here or, without a pool, of the only supervisor.
///
/// # Errors
/// If there is none, it has no such endpoint, or there are several: they are listed.
pub(super) fn only_one(places: &[EndpointKind]) -> Result<Address, StartError> {
    choose(sign::seen(), places).and_then(believed)
}

/// Refuses a socket of another user, which may have been put at that path.
fn believed(address: Address) -> Result<Address, StartError> {
    match &address {
        Address::Unix(path) if !sign::is_believed_socket(path) => {
            let remedy = "see whether it runs, or name the socket with --control";
            Err(StartError::usage(
                address.to_string(),
                "no socket of our own user or of root is there",
                remedy,
            ))
        }
        Address::Unix(_) | Address::Tcp(_) => Ok(address),
    }
}

fn at(sign: &PresenceSign, places: &[EndpointKind]) -> Option<Address> {
    let at = |place: &EndpointKind| match place {
        EndpointKind::Control => sign.control.clone(),
        EndpointKind::Health => sign.health.clone(),
    };
    places.iter().find_map(at)
}

fn choose(mut found: Vec<(i32, PresenceSign)>, places: &[EndpointKind]) -> Result<Address, StartError> {
    let (flag, variable) = places.first().map_or(("", ""), |place| place.names());
    if found.iter().any(|(_, sign)| sign.is_pool) {
        // `docker run --init` has a prefork-init above the pool.
        found.retain(|(_, sign)| sign.is_pool);
    }
    match &found[..] {
        [] => {
            let remedy = format!("give {flag}, or set {variable} as for the one that runs");
            let problem = "it is not known where to ask, and none of us runs here as this user";
            Err(StartError::usage(flag, problem, remedy))
        }
        [(pid, sign)] => at(sign, places).ok_or_else(|| {
            let problem = format!("the one that runs here (pid {pid}) cannot be asked");
            StartError::usage(flag, problem, format!("start it with {flag}"))
        }),
        several => {
            let one = |(pid, sign): &(i32, PresenceSign)| match at(sign, places) {
                Some(Address::Unix(path)) => format!("--control {} (pid {pid})", path.display()),
                Some(Address::Tcp(address)) => format!("--health {address} (pid {pid})"),
                None => format!("pid {pid}, which was started without {flag}"),
            };
            let choices: Vec<String> = several.iter().map(one).collect();
            let problem = format!("{} run here", several.len());
            Err(StartError::usage(flag, problem, format!("name one: {}", choices.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(is_pool: bool, control: &str, health: &str) -> PresenceSign {
        let place = |text: &str| Address::parse(text).ok();
        PresenceSign { is_pool, control: place(control), health: place(health) }
    }

    fn chosen(found: &[PresenceSign], places: &[EndpointKind]) -> String {
        let found = (7..).zip(found.iter().cloned()).collect();
        choose(found, places).map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    const ORDERS: [EndpointKind; 1] = [EndpointKind::Control];
    const STATUS: [EndpointKind; 2] = [EndpointKind::Control, EndpointKind::Health];

    #[test]
    fn the_one_pool_is_asked_and_of_several_none() {
        let (a, b) = (sign(true, "unix:/a", "127.0.0.1:1"), sign(true, "unix:/b", ""));
        let outer = sign(false, "unix:/o", "");
        assert_eq!(chosen(std::slice::from_ref(&a), &ORDERS), "unix:/a");
        assert_eq!(chosen(&[outer.clone(), a.clone()], &ORDERS), "unix:/a");
        assert_eq!(chosen(std::slice::from_ref(&outer), &STATUS), "unix:/o");
        let (mute, told) = (sign(true, "", ""), sign(true, "", "0.0.0.0:9000"));
        assert_eq!(chosen(std::slice::from_ref(&told), &STATUS), "0.0.0.0:9000");
        let error = chosen(std::slice::from_ref(&told), &ORDERS);
        assert_eq!(
            error,
            "--control: the one that runs here (pid 7) cannot be asked: start it with --control"
        );
        let error = chosen(&[a, b, told, mute], &STATUS);
        let expected = "--control: 4 run here: name one: --control /a (pid 7), --control /b (pid 8), \
                        --health 0.0.0.0:9000 (pid 9), pid 10, which was started without --control";
        assert_eq!(error, expected);
        assert!(chosen(&[], &STATUS).contains("none of us runs here"));
    }
}
