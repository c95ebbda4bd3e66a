//! Inherited sockets: the receiving side of sd_listen_fds(3).

use crate::core::exit::code;
use crate::os::socket::activation;
use crate::values::FIRST_FD;
use crate::values::address::Address;
use crate::values::error::StartError;
use std::ffi::OsString;

/// In the environment of a program that takes over at USR2, or that is asked whether it could: the sockets' addresses,
/// one a line. The handover itself has their descriptors.
pub use crate::values::variables::HANDOVER_LISTEN as VARIABLE;

/// The most inherited sockets: a larger number is an error.
const MOST: usize = 256;

/// The variables that describe inherited sockets.
#[derive(Clone, Debug, Default)]
pub struct ListenVariables {
    count: OsString,
    names: Option<OsString>,
    /// The value of [`VARIABLE`].
    handed_over: Option<OsString>,
}

impl ListenVariables {
    /// Reads our environment. `None` if there are no sockets, or `LISTEN_PID` names another process.
    #[must_use]
    pub fn read() -> Option<Self> {
        let count = std::env::var_os("LISTEN_FDS")?;
        let handed_over = std::env::var_os(VARIABLE);
        let own = OsString::from(std::process::id().to_string());
        if handed_over.is_none() && std::env::var_os("LISTEN_PID") != Some(own) {
            return None;
        }
        Some(Self { count, names: std::env::var_os("LISTEN_FDNAMES"), handed_over })
    }

    #[cfg(test)]
    pub(crate) fn handed_over(addresses: &str, names: &str) -> Self {
        let count = addresses.lines().count().to_string().into();
        Self { count, names: Some(names.into()), handed_over: Some(addresses.into()) }
    }
}

/// The inherited sockets, in the order of their descriptors, which begin at 3.
#[derive(Clone, Debug, Default)]
pub struct Activation {
    pub addresses: Vec<Address>,
    /// One for each socket, or none at all.
    pub names: Vec<String>,
}

impl Activation {
    /// Examines the inherited sockets.
    ///
    /// # Errors
    /// If a variable is invalid, or a descriptor is no socket that a worker could serve.
    pub fn resolve(variables: Option<&ListenVariables>) -> Result<Self, StartError> {
        let Some(ListenVariables { count, names, handed_over }) = variables else {
            return Ok(Self::default());
        };
        let number = count.to_str().and_then(|text| text.parse::<usize>().ok());
        let Some(number) = number.filter(|number| *number <= MOST) else {
            let remedy = "leave it to who binds the sockets (systemd, podman), or unset LISTEN_PID";
            return Err(StartError::value(
                "LISTEN_FDS",
                count.display(),
                "not a number from 0 to 256",
                remedy,
            ));
        };
        let addresses = match handed_over {
            Some(text) => {
                let text = text.to_string_lossy();
                let addresses: Vec<Address> = text.lines().filter_map(parse).collect();
                if addresses.len() != number {
                    let remedy = "leave the variable out: it is for the program that takes over at USR2";
                    return Err(StartError::usage(VARIABLE, "it is not understood", remedy));
                }
                addresses
            }
            None => (FIRST_FD..).take(number).map(look).collect::<Result<_, _>>()?,
        };
        let names = names.as_ref().map(|names| names.to_string_lossy().into_owned());
        let names: Option<Vec<String>> = names.map(|names| names.split(':').map(str::to_owned).collect());
        let names = names.filter(|names| names.len() == number && !names.iter().any(String::is_empty));
        Ok(Self { addresses, names: names.unwrap_or_default() })
    }

    /// The value for [`VARIABLE`].
    #[must_use]
    pub fn to_hand_over(&self) -> String {
        self.addresses.iter().map(|address| format!("{address}\n")).collect()
    }
}

fn look(fd: i32) -> Result<Address, StartError> {
    activation::look(fd).map_err(|problem| {
        let remedy = "give TCP or unix stream sockets that listen (ListenStream=, and not Accept=yes)";
        StartError::value("LISTEN_FDS", format_args!("descriptor {fd}"), problem, remedy)
            .with_code(code::CANNOT_START)
    })
}

/// Parses an address as it is displayed: other programs' paths may be longer than ours, or abstract.
fn parse(text: &str) -> Option<Address> {
    match text.strip_prefix("unix:") {
        Some(path) => Some(Address::Unix(path.into())),
        None => text.parse().ok().map(Address::Tcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_is_read_again() {
        let text = "127.0.0.1:80\n[::]:81\nunix:/run/a b\nunix:@abstract\n";
        let given = Activation::resolve(Some(&ListenVariables::handed_over(text, "a:b:c:d"))).unwrap();
        assert_eq!(given.to_hand_over(), text);
        assert_eq!(given.names, ["a", "b", "c", "d"]);
        let given = Activation::resolve(Some(&ListenVariables::handed_over(text, "a"))).unwrap();
        assert!(given.names.is_empty(), "as if there were none");
        let given = Activation::resolve(Some(&ListenVariables::handed_over("127.0.0.1:80", ""))).unwrap();
        assert_eq!((given.addresses.len(), given.names.len()), (1, 0));
        assert!(Activation::resolve(None).unwrap().addresses.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (count, handed_over) in [("x", None), ("-1", None), ("257", None), ("2", Some("127.0.0.1:80"))] {
            let handed_over = handed_over.map(OsString::from);
            let variables = ListenVariables { count: count.into(), names: None, handed_over };
            assert!(Activation::resolve(Some(&variables)).is_err(), "{count}");
        }
    }
}
