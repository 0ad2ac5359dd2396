//! Addresses of stream sockets: an IP address and a port, or a Unix socket's path or name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::num::NonZeroU32;
use std::option;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes of a Unix socket's path or abstract name (unix(7): `sun_path` has 108, of which
/// one ends a path or begins an abstract name).
const LONGEST_NAME: usize = 107;

/// The address of a stream socket.
///
/// # Examples
///
/// As text, an address is `IP:PORT`, `[IPV6]:PORT`, `unix:PATH` or `unix:@NAME`; `tcp://` may stand
/// before the first two.
///
/// ```
/// use edgeloop::Address;
///
/// let address: Address = "127.0.0.1:3000".parse()?;
/// assert_eq!(address.port(), Some(3000));
/// let address: Address = "unix:/run/echo.sock".parse()?;
/// assert_eq!(address.to_string(), "unix:/run/echo.sock");
/// # Ok::<(), edgeloop::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket (unix(7)).
    Unix(UnixAddress),
}

/// The address of a Unix socket (unix(7)): a path, an abstract name, or none. The socket of a
/// client has none, as a rule.
///
/// It's shown as `unix:PATH`, `unix:@NAME` or `unix`, in one line: control characters and what is
/// no UTF-8 are escaped, because a client may choose its own address (C34).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixAddress(Name);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum Name {
    #[default]
    Unnamed,
    Path(Arc<Path>),
    Abstract(Arc<[u8]>),
}

/// Who is at the other end of a Unix socket, as the kernel knew it when the connection was made
/// (`SO_PEERCRED`, unix(7)). The process may have ended since, or have given its socket away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Credentials {
    /// The process; `None` for one that this PID namespace does not see.
    pub process: Option<NonZeroU32>,
    /// The effective user id.
    pub user: u32,
    /// The effective group id.
    pub group: u32,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(Cow<'static, str>);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl UnixAddress {
    /// A path. A relative one is taken from the working directory at the time of the call.
    ///
    /// # Errors
    ///
    /// When it is empty, has a NUL byte, or is longer than 107 bytes (unix(7)).
    pub fn path(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        let path = path.as_ref();
        let bytes = path.as_os_str().as_bytes();
        check(bytes, "path")?;
        if bytes.contains(&0) {
            return Err(AddressError("a Unix socket's path has no NUL byte".into()));
        }
        Ok(Self::of_path(path))
    }

    /// An abstract name, without the NUL byte that begins it in the kernel's structure. Such a name
    /// is no file: it has no owner and no mode, and ends with its socket.
    ///
    /// # Errors
    ///
    /// When it is empty or longer than 107 bytes.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        let name = name.as_ref();
        check(name, "abstract name")?;
        Ok(Self::of_abstract_name(name))
    }

    /// A path that the kernel has told, which it has taken whatever it is.
    pub(crate) fn of_path(path: &Path) -> Self {
        Self(Name::Path(path.into()))
    }

    /// An abstract name that the kernel has told.
    pub(crate) fn of_abstract_name(name: &[u8]) -> Self {
        Self(Name::Abstract(name.into()))
    }

    /// None. No socket can be listened on or connected to without an address.
    #[must_use]
    pub const fn unnamed() -> Self {
        Self(Name::Unnamed)
    }

    /// The path, if it is one.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match &self.0 {
            Name::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, if it is one, without the NUL byte before it.
    #[must_use]
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        match &self.0 {
            Name::Abstract(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is none.
    #[must_use]
    pub fn is_unnamed(&self) -> bool {
        self.0 == Name::Unnamed
    }
}

fn check(name: &[u8], what: &str) -> Result<(), AddressError> {
    if name.is_empty() {
        return Err(AddressError(format!("a Unix socket's {what} is not empty").into()));
    }
    if name.len() > LONGEST_NAME {
        let length = name.len();
        let line = format!("a Unix socket's {what} has at most {LONGEST_NAME} bytes, not {length}");
        return Err(AddressError(line.into()));
    }
    Ok(())
}

impl Address {
    /// The IP address and port, if it is one of TCP.
    #[must_use]
    pub const fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The address of a Unix socket, if it is one.
    #[must_use]
    pub const fn as_unix(&self) -> Option<&UnixAddress> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(address) => Some(address),
        }
    }

    /// The IP address, if it is one of TCP.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port, if it is one of TCP.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether it's of a Unix socket.
    #[must_use]
    pub const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether sockets of both addresses can talk to each other.
    pub(crate) const fn is_of_family_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => one.is_ipv4() == other.is_ipv4(),
            (Self::Unix(_), Self::Unix(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Unnamed => f.write_str("unix"),
            Name::Path(path) => {
                f.write_str("unix:")?;
                in_one_line(path.as_os_str().as_bytes(), f)
            }
            Name::Abstract(name) => {
                f.write_str("unix:@")?;
                in_one_line(name, f)
            }
        }
    }
}

impl fmt::Debug for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a name as one line that a terminal can show.
fn in_one_line(name: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            // What a terminal acts on, and what turns the direction of a line or ends one.
            let acts = character.is_control()
                || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if acts {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address. No name is looked up.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(address) = unix(text) {
            return Ok(address?.into());
        }
        let ip = text.strip_prefix("tcp://").unwrap_or(text);
        ip.parse().map(Self::Tcp).map_err(|_| {
            AddressError("expected IP:PORT, [IPV6]:PORT, unix:PATH or unix:@NAME".into())
        })
    }
}

/// The address that stands behind `unix:`, if that is how a text begins.
fn unix(text: &str) -> Option<Result<UnixAddress, AddressError>> {
    let name = text.strip_prefix("unix:")?;
    Some(match name.strip_prefix('@') {
        Some(name) => UnixAddress::abstract_name(name),
        None => UnixAddress::path(OsStr::new(name)),
    })
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<SocketAddrV4> for Address {
    fn from(address: SocketAddrV4) -> Self {
        Self::Tcp(address.into())
    }
}

impl From<SocketAddrV6> for Address {
    fn from(address: SocketAddrV6) -> Self {
        Self::Tcp(address.into())
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// Makes the address of a listener fit [`TcpStream::connect`](std::net::TcpStream::connect) and the
/// like. Fails for that of a Unix socket.
impl ToSocketAddrs for Address {
    type Iter = option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let no_ip = || io::Error::new(io::ErrorKind::InvalidInput, format!("{self} has no IP"));
        self.as_tcp().ok_or_else(no_ip).map(|address| Some(address).into_iter())
    }
}

/// What can be listened on: an address, or a name that has some.
///
/// Like [`ToSocketAddrs`], and with the addresses of Unix sockets: as an [`Address`], a
/// [`UnixAddress`], or a text that begins with `unix:`.
pub trait ToAddresses {
    /// The addresses that it stands for. To resolve a name blocks.
    ///
    /// # Errors
    ///
    /// When the name can't be resolved or the text is no address.
    fn to_addresses(&self) -> io::Result<Vec<Address>>;
}

fn resolved(name: impl ToSocketAddrs) -> io::Result<Vec<Address>> {
    Ok(name.to_socket_addrs()?.map(Address::Tcp).collect())
}

impl ToAddresses for str {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        match unix(self) {
            Some(address) => Ok(vec![address?.into()]),
            None => resolved(self.strip_prefix("tcp://").unwrap_or(self)),
        }
    }
}

impl ToAddresses for String {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        self.as_str().to_addresses()
    }
}

impl ToAddresses for Address {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![self.clone()])
    }
}

impl ToAddresses for UnixAddress {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(vec![self.clone().into()])
    }
}

impl<T: ToAddresses + ?Sized> ToAddresses for &T {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        (**self).to_addresses()
    }
}

macro_rules! as_the_standard_library {
    ($($of:ty),*) => {$(
        impl ToAddresses for $of {
            fn to_addresses(&self) -> io::Result<Vec<Address>> {
                resolved(self)
            }
        }
    )*};
}

as_the_standard_library!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    (&str, u16),
    (String, u16)
);

impl ToAddresses for [SocketAddr] {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        resolved(self)
    }
}

impl ToAddresses for [Address] {
    fn to_addresses(&self) -> io::Result<Vec<Address>> {
        Ok(self.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        text.parse().map_err(|error: AddressError| error.to_string())
    }

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        let texts = [
            "127.0.0.1:3000",
            "[::1]:0",
            "unix:/run/echo.sock",
            "unix:echo",
            "unix:@echo",
            "unix: ",
        ];
        for text in texts {
            assert_eq!(read(text).expect(text).to_string(), text);
        }
        assert_eq!(read("tcp://127.0.0.1:1"), read("127.0.0.1:1"));
        let error = "expected IP:PORT, [IPV6]:PORT, unix:PATH or unix:@NAME";
        for text in ["", "localhost:1", "127.0.0.1", "/run/echo.sock", "udp://127.0.0.1:1"] {
            assert_eq!(read(text), Err(error.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_no_socket_can_have_is_refused_and_the_longest_is_not() {
        for prefix in ["", "@"] {
            let long = |length| format!("unix:{prefix}{}", "x".repeat(length));
            assert!(read(&long(LONGEST_NAME)).is_ok());
            let error = read(&long(LONGEST_NAME + 1)).expect_err("too long");
            assert!(error.ends_with("has at most 107 bytes, not 108"), "{error}");
            let error = read(&long(0)).expect_err("empty");
            assert!(error.ends_with("is not empty"), "{error}");
        }
        let error = read("unix:/a\0b").expect_err("a NUL byte");
        assert_eq!(error, "a Unix socket's path has no NUL byte");
        assert!(read("unix:@a\0b").is_ok(), "an abstract name may have any byte");
    }

    #[test]
    fn c34_an_address_is_shown_in_one_line_whatever_is_in_it() {
        let path = OsStr::from_bytes(b"/a\x1b[2J\n\xff \xe2\x80\xae\xc3\xa4");
        let address = UnixAddress::path(path).expect("a path");
        assert_eq!(address.to_string(), "unix:/a\\u{1b}[2J\\u{a}\\xff \\u{202e}\u{e4}");
        let name = UnixAddress::abstract_name(b"\0x\x07").expect("a name");
        assert_eq!(format!("{name:?}"), "unix:@\\u{0}x\\u{7}");
        assert_eq!(UnixAddress::unnamed().to_string(), "unix");
    }

    #[test]
    fn what_can_be_listened_on_has_addresses() {
        let tcp = |port| Address::from(SocketAddr::from(([127, 0, 0, 1], port)));
        let unix = Address::from(UnixAddress::path("/a").expect("a path"));
        assert_eq!("127.0.0.1:1".to_addresses().expect("one"), [tcp(1)]);
        assert_eq!("tcp://127.0.0.1:1".to_owned().to_addresses().expect("one"), [tcp(1)]);
        assert_eq!((Ipv4Addr::LOCALHOST, 1).to_addresses().expect("one"), [tcp(1)]);
        assert_eq!("unix:/a".to_addresses().expect("one"), std::slice::from_ref(&unix));
        assert_eq!([unix.clone(), tcp(2)].as_slice().to_addresses().expect("two"), [unix, tcp(2)]);
        assert!("unix:".to_addresses().is_err());
        assert!("nowhere".to_addresses().is_err());
    }

    #[test]
    fn the_standard_library_connects_to_an_address_of_tcp_and_to_no_other() {
        let tcp = Address::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        assert_eq!(tcp.to_socket_addrs().expect("one").next(), tcp.as_tcp());
        let error = Address::from(UnixAddress::unnamed()).to_socket_addrs().expect_err("none");
        assert_eq!(error.to_string(), "unix has no IP");
    }
}
