//! What Unix sockets need beside TCP: who may connect through a file, and what goes wrong with one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use edgeloop::{Address, Error, ListenOptions};
use nix::unistd::{Group, User};
use rustix::io::Errno;

use crate::escape::OneLine;
use crate::exit::Failure;
use crate::values::digits;

/// Who may connect through the files of Unix sockets, as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<Owner>,
}

/// `USER`, `USER:GROUP` or `:GROUP`; what is `None` is left to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    user: Option<Id>,
    group: Option<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Number(u32),
    /// Not looked up yet.
    Name(String),
}

impl Access {
    /// The options of a listener whose address is a path. Names are looked up, which may block.
    ///
    /// # Errors
    ///
    /// A line that names the user or the group that there is none of.
    pub(crate) fn options(&self) -> Result<ListenOptions, Failure> {
        let mut options = ListenOptions::new();
        if let Some(mode) = self.mode {
            options = options.unix_mode(mode);
        }
        if let Some(Owner { user, group }) = &self.owner {
            let user = user.as_ref().map(user_id).transpose()?;
            let group = group.as_ref().map(group_id).transpose()?;
            options = options.unix_owner(user, group);
        }
        Ok(options)
    }

    /// The options that were given.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let mode = self.mode.is_some().then_some("--unix-mode");
        mode.into_iter().chain(self.owner.is_some().then_some("--unix-owner"))
    }
}

fn user_id(id: &Id) -> Result<u32, Failure> {
    look_up(id, "user", "passwd", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

fn group_id(id: &Id) -> Result<u32, Failure> {
    look_up(
        id,
        "group",
        "group",
        |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())),
    )
}

fn look_up(
    id: &Id,
    what: &str,
    database: &str,
    find: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, Failure> {
    let name = match id {
        Id::Number(number) => return Ok(*number),
        Id::Name(name) => name,
    };
    let why = match find(name) {
        Ok(Some(number)) => return Ok(number),
        Ok(None) => format!("no {what} has this name ('getent {database}' lists them)"),
        Err(error) => std::io::Error::from(error).to_string(),
    };
    Err(Failure::usage(format!("--unix-owner: cannot find {what} '{}': {why}", OneLine(name))))
}

/// Permission bits in octal, as for chmod(1).
pub(crate) fn mode(text: &str) -> Result<u32, String> {
    digits(text)
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|&mode| mode <= 0o777)
        .ok_or_else(|| "expected octal permissions from 0 to 0777, as in 0660".into())
}

/// An owner, as for chown(1). `USER:` would be the user's own group there, which is easily meant
/// otherwise.
pub(crate) fn owner(text: &str) -> Result<Owner, String> {
    let expected =
        "expected USER, USER:GROUP or :GROUP, by name or number, as in www-data:www-data";
    let (user, group) = match text.split_once(':') {
        Some((user, group)) if !group.is_empty() => (user, Some(group)),
        None if !text.is_empty() => (text, None),
        _ => return Err(expected.into()),
    };
    if group.is_some_and(|group| group.contains(':')) {
        return Err(expected.into());
    }
    let user = Some(user).filter(|user| !user.is_empty()).map(id).transpose()?;
    Ok(Owner { user, group: group.map(id).transpose()? })
}

/// What is a number is none of a name.
fn id(text: &str) -> Result<Id, String> {
    let Some(digits) = digits(text) else { return Ok(Id::Name(text.to_owned())) };
    // The highest number stands for none in chown(2).
    let number = digits.parse().ok().filter(|&number| number != u32::MAX);
    number.map(Id::Number).ok_or_else(|| format!("expected a number below {}", u32::MAX))
}

/// Whether both are the same Unix socket: they have the same name, or their paths the same file.
pub(crate) fn is_same(one: &Address, other: &Address) -> bool {
    let (Some(one), Some(other)) = (one.as_unix(), other.as_unix()) else { return false };
    match (one.as_path(), other.as_path()) {
        (Some(one), Some(other)) => file(one).is_some_and(|is| Some(is) == file(other)),
        _ => one == other && !one.is_unnamed(),
    }
}

/// The device and inode of a file.
fn file(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What to do about an error of listening on a Unix socket.
pub(crate) fn hint(error: &Error) -> &'static str {
    match (Errno::from_io_error(error.io_error()), error.call()) {
        (Some(Errno::ADDRINUSE), _) => "; 'ss -lxp' shows who listens there",
        (Some(Errno::NOENT), Some("bind")) => "; its directory does not exist",
        (Some(Errno::ACCESS), Some("bind")) => {
            "; a socket's file needs the right to write to its directory"
        }
        (Some(Errno::ACCESS), Some("connect")) => "; the socket there is another user's",
        (Some(Errno::ACCESS | Errno::PERM), Some("unlink")) => {
            "; nobody listens there, but its file is another user's"
        }
        (Some(Errno::PERM), Some("fchownat")) => "; giving a file away takes CAP_CHOWN",
        (None, Some("bind")) => "; it is left alone",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal() {
        for (text, expected) in [("0660", 0o660), ("660", 0o660), ("0", 0), ("000777", 0o777)] {
            assert_eq!(mode(text), Ok(expected));
        }
        for text in ["", "1000", "1777", "0o660", "888", "-1", "+660", "u=rw", "99999999999999"] {
            let error = mode(text).expect_err(text);
            assert_eq!(error, "expected octal permissions from 0 to 0777, as in 0660");
        }
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both_by_name_or_number() {
        let name = |name: &str| Some(Id::Name(name.to_owned()));
        let number = |number| Some(Id::Number(number));
        for (text, user, group) in [
            ("www-data", name("www-data"), None),
            ("0", number(0), None),
            ("a:b", name("a"), name("b")),
            ("1:4294967294", number(1), number(4_294_967_294)),
            (":b", None, name("b")),
            ("1:b", number(1), name("b")),
            ("-1", name("-1"), None),
        ] {
            assert_eq!(owner(text), Ok(Owner { user, group }), "{text}");
        }
        for text in ["", ":", "a:", "a:b:c", ":b:"] {
            let error = owner(text).expect_err(text);
            assert!(error.starts_with("expected USER, USER:GROUP or :GROUP"), "{error}");
        }
        for text in ["4294967295", ":99999999999999999999"] {
            assert_eq!(owner(text), Err("expected a number below 4294967295".to_owned()));
        }
    }

    #[test]
    fn names_are_looked_up_and_numbers_are_not() {
        let options = |text| {
            let owner = owner(text).expect(text);
            Access { mode: Some(0o600), owner: Some(owner) }.options()
        };
        let expected = |user, group| ListenOptions::new().unix_mode(0o600).unix_owner(user, group);
        assert_eq!(options("root:root").expect("they exist"), expected(Some(0), Some(0)));
        assert_eq!(options("4000000000").expect("a number"), expected(Some(4_000_000_000), None));
        for (text, what) in [("no\x1bbody:0", "user 'no\\u{1b}body'"), ("0:nogroup-", "group 'nog")]
        {
            let end = options(text).expect_err(text);
            let begin = format!("--unix-owner: cannot find {what}");
            assert!(end.line.starts_with(&begin), "{}", end.line);
            assert!(end.line.contains("has this name ('getent "), "{}", end.line);
            assert_eq!(end.exit.code(), 2);
        }
    }
}
