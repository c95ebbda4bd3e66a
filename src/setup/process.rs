//! The user, directory and capabilities of the command.

use crate::core::exit::code;
use crate::os::process::privileges::{
    self, DAC_OVERRIDE, KILL, NET_BIND_SERVICE, SETGID, SETUID, SYS_PTRACE, SYS_RESOURCE,
};
use crate::os::process::spawn::{self, Identity};
use crate::os::users::{self, Account};
use crate::settings::options::ProcessOptions;
use crate::settings::{PoolSettings, Settings};
use crate::values::address::Address;
use crate::values::error::StartError;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use tracing::warn;

/// The account of the command; `None` if it is ours.
///
/// # Errors
/// If it is unknown, or we may not change to it.
pub fn account(process: &ProcessOptions) -> Result<Option<Account>, StartError> {
    let account = match (&process.user, &process.group) {
        (None, None) => return Ok(None),
        (Some(user), group) => users::find(user, group.as_deref())?,
        (None, Some(group)) => {
            let gid = users::find_group("--group", group)?;
            let identity = Identity { uid: privileges::own_ids().0, gid, groups: vec![gid] };
            let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
            Account { identity, name: std::env::var("USER").ok(), home }
        }
    };
    let same_ids = account.identity.ids() == privileges::own_ids();
    if same_ids && privileges::own_groups() == account.identity.groups {
        return Ok(None);
    }
    if privileges::have(&[SETUID, SETGID]) {
        return Ok(Some(account));
    }
    if same_ids {
        warn!("supplementary groups stay as they are: without the capability SETGID we may not change them");
        return Ok(None);
    }
    let (option, value) = match (&process.user, &process.group) {
        (Some(user), _) => ("--user", &user.user),
        (None, group) => ("--group", group.as_ref().unwrap_or(&account.home)),
    };
    let remedy = "start as root, with the capabilities SETUID and SETGID, or leave it out";
    Err(StartError::value(option, value, "we may not change to it", remedy).with_code(code::CANNOT_START))
}

/// The attributes that the command's process sets before it executes.
///
/// # Errors
/// If its directory is none.
pub fn attributes(
    process: &ProcessOptions,
    account: Option<&Account>,
) -> Result<spawn::SpawnAttributes, StartError> {
    let directory = match &process.chdir {
        None => None,
        Some(path) => {
            let cannot = |problem: &dyn std::fmt::Display| {
                let remedy = "name a directory that is there";
                StartError::value("--chdir", path.display(), problem, remedy).with_code(code::CANNOT_START)
            };
            match std::fs::metadata(path) {
                Ok(found) if !found.is_dir() => return Err(cannot(&"it is not a directory")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(cannot(&"not found")),
                // If we may not look, the command's user perhaps may.
                Ok(_) | Err(_) => {}
            }
            Some(CString::new(path.as_os_str().as_bytes()).map_err(|error| cannot(&error))?)
        }
    };
    Ok(spawn::SpawnAttributes {
        identity: account.map(|account| account.identity.clone()),
        no_new_privs: process.no_new_privs,
        umask: process.umask,
        directory,
        oom_score_adj: process.oom_score_adj,
    })
}

/// Gives up the capabilities that are not needed once everything is bound, if the command runs as another user. A
/// command that stays root might not regain them by its exec (`PR_SET_NO_NEW_PRIVS`).
pub fn give_up_rights(attributes: &spawn::SpawnAttributes, settings: &Settings) {
    if attributes.identity.as_ref().is_none_or(|identity| identity.uid == 0) {
        return;
    }
    let mut needed = vec![KILL, SETUID, SETGID, SYS_PTRACE];
    // The path of a socket is removed at the end, perhaps from another user's directory.
    let bind = settings.pool().into_iter().flat_map(|pool| &pool.bind);
    let mut addresses = bind.chain(&settings.endpoint.health).chain(&settings.endpoint.control);
    let has_path = addresses.any(|address| matches!(address, Address::Unix(_)));
    let mut listeners = settings.pool().into_iter().flat_map(PoolSettings::listeners);
    // A further worker needs a further listener.
    let is_low =
        |address: &Address| matches!(address, Address::Tcp(address) if (1..1024).contains(&address.port()));
    needed.extend(listeners.any(is_low).then_some(NET_BIND_SERVICE));
    needed.extend(has_path.then_some(DAC_OVERRIDE));
    needed.extend(attributes.oom_score_adj.map(|_| SYS_RESOURCE));
    if let Err(error) = privileges::keep_only(&needed) {
        warn!(%error, "rights that we have no use for cannot be given up (capset)");
    }
}
