//! Users and groups by name, from passwd(5) and group(5). No name service: an image FROM scratch has none.

use crate::core::exit::code;
use crate::os::process::spawn::Identity;
use crate::values::error::StartError;
use crate::values::user::UserSpec;
use std::fs;
use std::io;

/// The user that the command runs as, and its environment's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub identity: Identity,
    /// The user's name; `None` if the id has none.
    pub name: Option<String>,
    /// The user's home directory; `/` if unknown.
    pub home: String,
}

/// A line of passwd(5).
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Looks the user up in `/etc`.
///
/// # Errors
/// If the user or group does not exist, or the user's group is unknown.
pub fn find(spec: &UserSpec, group: Option<&str>) -> Result<Account, StartError> {
    let own_group = spec.group.as_deref().or(group);
    let is_number = |name: &str| name.parse::<u32>().is_ok();
    let passwd = read("--user", PASSWD, !is_number(&spec.user) || own_group.is_none())?;
    let groups = read("--group", GROUP, own_group.is_none_or(|group| !is_number(group)))?;
    account(spec, group, &passwd, &groups)
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Empty if the file does not exist, or is unreadable and not needed. Full names in it may have any encoding.
fn read(option: &str, path: &str, is_needed: bool) -> Result<String, StartError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound || !is_needed => Ok(String::new()),
        Err(error) => {
            let problem = format!("{path} cannot be read: {error}");
            let remedy =
                "let us read it, or leave the option out and have the container's runtime set the user";
            Err(StartError::usage(option, problem, remedy).with_code(code::CANNOT_START))
        }
    }
}

fn account(spec: &UserSpec, group: Option<&str>, passwd: &str, groups: &str) -> Result<Account, StartError> {
    let no_such = |option: &str, value: &str, file: &str| {
        StartError::value(option, value, format!("not in {file}"), "check the spelling, or give a number")
            .with_code(code::CANNOT_START)
    };
    let is_it =
        |user: &User<'_>| spec.user.parse().map_or(user.name == spec.user, |uid: u32| user.uid == uid);
    let by_name = users(passwd).find(|user| user.name == spec.user);
    let user = by_name.or_else(|| users(passwd).find(is_it));
    let uid = match (&user, spec.user.parse::<u32>()) {
        (Some(user), _) => user.uid,
        // (uid_t) -1 means "unchanged" (setresuid(2)).
        (None, Ok(uid)) if uid != u32::MAX => uid,
        (None, Ok(_) | Err(_)) => return Err(no_such("--user", &spec.user, "/etc/passwd")),
    };
    let name = user.as_ref().map(|user| user.name.to_owned());
    let home = user.as_ref().map_or("/", |user| user.home).to_owned();
    let (gid, others) = match (spec.group.as_deref().or(group), user) {
        (Some(group), _) => {
            (group_id(group, groups).ok_or_else(|| no_such("--group", group, "/etc/group"))?, Vec::new())
        }
        (None, Some(user)) => (user.gid, groups_of(user.name, user.gid, groups)),
        (None, None) => {
            return Err(StartError::value(
                "--user",
                uid,
                "not in /etc/passwd, so its group is not known",
                format!("add the group, as in {uid}:{uid}"),
            )
            .with_code(code::CANNOT_START));
        }
    };
    let mut all = vec![gid];
    all.extend(others.into_iter().filter(|other| *other != gid));
    Ok(Account { identity: Identity { uid, gid, groups: all }, name, home })
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

/// Lines of group(5): name, id, members.
fn lines_of(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

/// The id of a group by name or number; `option` appears in errors.
///
/// # Errors
/// If the group does not exist.
pub fn find_group(option: &str, name: &str) -> Result<u32, StartError> {
    let groups = read(option, GROUP, name.parse::<u32>().is_err())?;
    group_id(name, &groups).ok_or_else(|| {
        StartError::value(option, name, "not in /etc/group", "check the spelling, or give a number")
            .with_code(code::CANNOT_START)
    })
}

fn group_id(name: &str, groups: &str) -> Option<u32> {
    let named = lines_of(groups).find(|(known, ..)| *known == name).map(|(_, gid, _)| gid);
    named.or_else(|| name.parse().ok().filter(|gid| *gid != u32::MAX))
}

/// The supplementary groups of a user, as initgroups(3) finds them.
fn groups_of(user: &str, primary: u32, groups: &str) -> Vec<u32> {
    let member = lines_of(groups).filter(|(.., members)| members.split(',').any(|member| member == user));
    let mut found: Vec<u32> = member.map(|(_, gid, _)| gid).filter(|gid| *gid != primary).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\nwww:x:33:33::/var/www:/bin/sh\n\
                          7:x:1007:1007::/seven:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nwww:x:33:\nssl:x:110:www,other\nadm:x:4:other\nlogs:x:111:a,www\n";

    fn look(spec: &str, group: Option<&str>) -> Result<(u32, u32, Vec<u32>, String), String> {
        let (user, own) = spec.split_once(':').map_or((spec, None), |(user, own)| (user, Some(own)));
        let spec = UserSpec { user: user.into(), group: own.map(str::to_owned) };
        let account = account(&spec, group, PASSWD, GROUPS).map_err(|error| error.to_string())?;
        let Identity { uid, gid, groups } = account.identity;
        Ok((uid, gid, groups, account.home))
    }

    #[test]
    fn a_user_has_the_groups_of_the_file_and_a_given_group_stands_alone() {
        let www = (33, 33, vec![33, 110, 111], "/var/www".to_owned());
        assert_eq!(look("www", None), Ok(www.clone()));
        assert_eq!(look("33", None), Ok(www));
        assert_eq!(look("www:ssl", None), Ok((33, 110, vec![110], "/var/www".into())));
        assert_eq!(look("www", Some("4")), Ok((33, 4, vec![4], "/var/www".into())));
        assert_eq!(look("1001:1001", None), Ok((1001, 1001, vec![1001], "/".into())));
        // As with chown(1), a name that looks like a number is a name first.
        assert_eq!(look("7", None), Ok((1007, 1007, vec![1007], "/seven".into())));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (spec, group, named) in [
            ("nobody-here", None, "--user 'nobody-here': not in /etc/passwd"),
            ("www:no-group", None, "--group 'no-group': not in /etc/group"),
            ("1001", None, "--user '1001': not in /etc/passwd, so its group is not known"),
            ("4294967295:1", None, "--user '4294967295'"),
        ] {
            let error = look(spec, group).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
