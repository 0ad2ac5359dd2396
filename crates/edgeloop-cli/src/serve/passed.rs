//! Sockets that were passed in, as by a socket unit of systemd (sd_listen_fds(3)): what the
//! environment says of them, and how they are taken and listened on.
//!
//! `LISTEN_FDS` is their number and `LISTEN_PID` the process that they are for; they are the
//! descriptors from 3 on. `LISTEN_FDNAMES` has a name for each, separated by colons.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use edgeloop::{Address, Error};
use listenfd::ListenFd;
use rustix::net::sockopt;

use super::server::Server;
use crate::escape::OneLine;
use crate::exit::Failure;
use crate::values::read;

/// The first of the descriptors (SD_LISTEN_FDS_START).
const FIRST: usize = 3;

/// No process has more descriptors, unless fs.nr_open was raised (proc(5)).
const MOST: usize = 1 << 20;

/// What the environment says of passed sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// How many there are.
    pub(crate) count: usize,
    /// Their names, of as many as have one.
    names: Vec<String>,
    /// Why some are left alone.
    pub(crate) ignored: Option<String>,
}

impl Announced {
    /// Reads the variables; `pid` is the number of this process. What is for another one is left
    /// alone: its environment was handed down, and its sockets need not have been.
    ///
    /// # Errors
    ///
    /// Names the variable of ours that can't be understood.
    pub(crate) fn read(
        environment: &dyn Fn(&str) -> Option<OsString>,
        pid: u32,
    ) -> Result<Self, Failure> {
        let get = |name| environment(name).filter(|value| !value.is_empty());
        let Some(count) = get("LISTEN_FDS") else { return Ok(Self::default()) };
        let is = match get("LISTEN_PID").map(|meant| meant.to_string_lossy().into_owned()) {
            Some(meant) if meant.parse() == Ok(pid) => None,
            Some(meant) => Some(format!("{}, and this is process {pid}", OneLine(&meant))),
            None => Some("not set".to_owned()),
        };
        if let Some(is) = is {
            let ignored = Some(format!("LISTEN_FDS is ignored: LISTEN_PID is {is}"));
            return Ok(Self { ignored, ..Self::default() });
        }
        let count = read("LISTEN_FDS", &count, self::count)?;
        if let Some(first) = get("LISTEN_FDS_FIRST_FD") {
            // A variable of systemfd, which `listenfd` knows.
            read("LISTEN_FDS_FIRST_FD", &first, |text| match text {
                "3" => Ok(()),
                _ => Err("expected 3, where they begin in sd_listen_fds(3)".into()),
            })?;
        }
        let names = get("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.to_string_lossy().split(':').map(str::to_owned).collect();
        Ok(Self { count, names, ignored: None })
    }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|&count| count <= MOST);
    count.ok_or_else(|| format!("expected the number of sockets, at most {MOST}"))
}

/// A descriptor that was passed in.
#[derive(Debug)]
pub(crate) struct Passed {
    place: Place,
    /// The socket, of any kind, or what it is instead.
    socket: Result<OwnedFd, &'static str>,
}

/// Where it was passed, and under which name.
#[derive(Debug)]
struct Place {
    number: usize,
    name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {} of LISTEN_FDS", self.number)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " ({})", OneLine(name)))
    }
}

/// A passed socket that is listened on.
#[derive(Debug)]
pub(crate) struct Bound {
    place: Place,
    pub(crate) address: Address,
    /// It accepts nothing of IPv4.
    pub(crate) ipv6_only: bool,
}

/// Takes them over, up to the first that is no socket. They become close-on-exec, and `LISTEN_FDS`
/// and `LISTEN_PID` leave the environment, so that no other program believes that they are for it.
/// Has to come before the first thread is started, and before anything else is opened.
pub(crate) fn take(announced: &Announced) -> Vec<Passed> {
    let mut passed = Vec::new();
    if announced.count == 0 {
        return passed;
    }
    let mut sockets = ListenFd::from_env();
    for index in 0..announced.count {
        let number = FIRST + index;
        let name = announced.names.get(index).filter(|name| !name.is_empty()).cloned();
        let socket = take_one(&mut sockets, index).ok_or_else(|| nature_of(number));
        let is_socket = socket.is_ok();
        passed.push(Passed { place: Place { number, name }, socket });
        if !is_socket {
            break;
        }
    }
    passed
}

/// Takes a socket, whatever it is: the loop says best what is wrong with one. It is asked for as
/// one of each family and type, since `listenfd` gives an owned descriptor only of a kind that was
/// named. One of TCP is the second that is asked for; one of IPv6 passes as one of IPv4.
fn take_one(sockets: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    // As linux/net.h and linux/socket.h number them, with some room.
    let (types, families) = (1..=10, 1..=63);
    let mut kinds = types.flat_map(|kind| families.clone().map(move |family| (family, kind)));
    kinds.find_map(|(family, kind)| sockets.take_custom(index, family, kind, "").ok().flatten())
}

/// What a descriptor is that is no socket.
fn nature_of(number: usize) -> &'static str {
    let descriptors = Path::new("/proc/self/fd");
    match fs::metadata(descriptors.join(number.to_string())).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_file() => "a file",
        Ok(kind) if kind.is_dir() => "a directory",
        Ok(kind) if kind.is_fifo() => "a pipe",
        Ok(kind) if kind.is_char_device() || kind.is_block_device() => "a device",
        Ok(_) => "no socket",
        Err(error) if error.kind() == io::ErrorKind::NotFound && descriptors.exists() => "not open",
        // Without /proc there is no more to know.
        Err(_) => "no open socket",
    }
}

/// Listens on all of them.
///
/// # Errors
///
/// A line that names the first that is no listening TCP or Unix socket and says what it is, or the
/// call that failed.
pub(crate) fn listen(server: &mut impl Server, passed: Vec<Passed>) -> Result<Vec<Bound>, Failure> {
    let listen = |Passed { place, socket }| {
        let socket = socket.map_err(|is| refused(&place, is))?;
        // Where it fails, it is of IPv4, to which it makes no difference.
        let ipv6_only = sockopt::ipv6_v6only(&socket).unwrap_or_default();
        let address = server.listen_on_fd(socket).map_err(|error| failed(&place, &error))?;
        Ok(Bound { place, address, ipv6_only })
    };
    passed.into_iter().map(listen).collect()
}

fn refused(place: &Place, is: &str) -> Failure {
    let line = format!("cannot listen on {place}: it is {is}, not a listening TCP or Unix socket");
    Failure::usage(line)
}

/// The loop's own words, with the place that it does not know.
fn failed(place: &Place, error: &Error) -> Failure {
    let call = error.call().map_or_else(String::new, |call| format!(" in {call}"));
    Failure::usage(format!("cannot listen on {place}: {}{call}", error.io_error()))
}

impl Bound {
    /// Logs where the socket came from.
    pub(crate) fn tell(&self) {
        let Self { place: Place { number, name }, address, .. } = self;
        tracing::debug!(%address, descriptor = number, name, "passed in");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 42;

    fn announced(variables: &[(&str, &str)]) -> Result<Announced, Failure> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Announced::read(&|name| find(name).map(|(_, value)| value.into()), PID)
    }

    #[test]
    fn those_for_this_process_are_counted_and_named() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        for (named, expected) in
            [("", vec![""]), ("web", vec!["web"]), ("web::x y", vec!["web", "", "x y"])]
        {
            let variables = [("LISTEN_FDS", "3"), ("LISTEN_PID", "42"), ("LISTEN_FDNAMES", named)];
            let expected = Announced { count: 3, names: names(&expected), ignored: None };
            assert_eq!(announced(&variables).expect(named), expected);
        }
        for count in ["0", "1048576"] {
            let counted = announced(&[("LISTEN_FDS", count), ("LISTEN_PID", "42")]).expect(count);
            assert_eq!(counted.count.to_string(), count);
        }
    }

    #[test]
    fn those_for_another_process_or_for_nobody_are_ignored_with_a_word() {
        for (pid, is) in [
            ("43", "43, and this is process 42"),
            ("42x", "42x, and this is process 42"),
            ("\x1b", "\\u{1b}, and this is process 42"),
            ("-42", "-42, and this is process 42"),
            ("", "not set"),
        ] {
            // Whatever else is said is not for us to judge.
            let read = announced(&[("LISTEN_FDS", "many"), ("LISTEN_PID", pid)]).expect(pid);
            let ignored = Some(format!("LISTEN_FDS is ignored: LISTEN_PID is {is}"));
            assert_eq!(read, Announced { ignored, ..Announced::default() });
        }
        for variables in [&[][..], &[("LISTEN_PID", "42")], &[("LISTEN_FDS", "")]] {
            assert_eq!(announced(variables).expect("nothing"), Announced::default());
        }
    }

    #[test]
    fn what_can_not_be_understood_is_refused_with_its_name() {
        for value in ["abc", "-1", "1.5", " 1", "1k", "1048577", "99999999999999999999"] {
            let end = announced(&[("LISTEN_FDS", value), ("LISTEN_PID", "42")]).expect_err(value);
            let line = format!(
                "invalid value '{value}' for LISTEN_FDS: expected the number of sockets, at most \
                 1048576"
            );
            assert_eq!((end.exit.code(), end.line), (2, line));
        }
        let first = |first| {
            let ours = [("LISTEN_FDS", "1"), ("LISTEN_PID", "42"), ("LISTEN_FDS_FIRST_FD", first)];
            announced(&ours)
        };
        assert_eq!(first("3").expect("it is the first").count, 1);
        let line = "invalid value '7' for LISTEN_FDS_FIRST_FD: expected 3, where they begin in \
                    sd_listen_fds(3)";
        assert_eq!(first("7").expect_err("another one").line, line);
    }
}
