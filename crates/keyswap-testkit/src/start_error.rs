//! Why a server could not start.

use std::error::Error;
use std::net::SocketAddr;
use std::{fmt, io};

/// Why an [`AuthorizationServer`](crate::AuthorizationServer) did not start, and what to do about it.
#[derive(Debug)]
pub struct StartError {
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Address(String),
    NotLoopback(SocketAddr),
    Listen(SocketAddr, io::Error),
    NoNodes,
    Nameless,
    EmptySecret(String),
    RegisteredTwice(String),
}

impl StartError {
    /// Another program listens on the address.
    #[must_use]
    pub fn is_address_in_use(&self) -> bool {
        matches!(&self.kind, Kind::Listen(_, error) if error.kind() == io::ErrorKind::AddrInUse)
    }

    /// The address is none of this machine's loopback addresses.
    #[must_use]
    pub fn is_not_loopback(&self) -> bool {
        matches!(self.kind, Kind::NotLoopback(_))
    }
}

impl From<Kind> for StartError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Address(given) => write!(
                f,
                "`{given}` is no address to listen on: give an address and a port, such as 127.0.0.1:8080"
            ),
            Kind::NotLoopback(address) => write!(
                f,
                "refused to listen on {address}: this server speaks HTTP without TLS and is for tests, so it \
                 listens on loopback only; use 127.0.0.1:{port} or [::1]:{port}",
                port = address.port()
            ),
            Kind::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: another program uses this port; stop it, choose another port, or \
                 give port 0 to have a free one chosen"
            ),
            Kind::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Kind::NoNodes => f.write_str("a server needs at least one node: `nodes` was given 0"),
            Kind::Nameless => {
                f.write_str("a client without a client id was registered: give it one")
            }
            Kind::EmptySecret(id) => {
                write!(f, "client `{id}` was registered with an empty secret: give it one")
            }
            Kind::RegisteredTwice(id) => write!(
                f,
                "client `{id}` was registered twice: every client id stands for one client"
            ),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Listen(_, error) => Some(error),
            _ => None,
        }
    }
}
