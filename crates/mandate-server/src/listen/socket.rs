//! Sockets. They are bound at the start, so that an address in use is an error at once, and listened on
//! later, so that no client waits while content is loaded. Connections are served by `server`.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::address::Address;
use super::error::SocketError;

/// The most connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long sent data may stay unacknowledged before the connection is closed.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// An address that is bound, but not listened on yet.
#[derive(Debug)]
pub struct BoundSocket {
    address: Address,
    inner: UnlistenedSocket,
}

#[derive(Debug)]
enum UnlistenedSocket {
    Tcp(TcpSocket),
    /// Bound at a temporary path, and renamed when it listens, so that no client finds a socket that refuses
    /// it.
    Unix(UnixSocket, SocketFile),
}

/// A socket that is listened on.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl BoundSocket {
    /// Binds an address. The file of a unix socket gets this mode.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn bind(address: &Address, mode: u32) -> Result<Self, SocketError> {
        let inner = match address {
            Address::Http(wanted) | Address::Https(wanted) => bind_tcp(*wanted).map(UnlistenedSocket::Tcp),
            Address::Unix(path) => {
                bind_unix(path, mode).map(|(socket, file)| UnlistenedSocket::Unix(socket, file))
            }
        };
        let inner = inner.map_err(|error| SocketError { address: address.clone(), error })?;
        Ok(Self { address: address.clone(), inner })
    }

    /// The address, with the port that the system chose.
    pub fn local_address(&self) -> Address {
        match &self.inner {
            UnlistenedSocket::Tcp(socket) => match socket.local_addr() {
                Ok(bound) => self.address.with_bound_address(bound),
                Err(_) => self.address.clone(),
            },
            UnlistenedSocket::Unix(..) => self.address.clone(),
        }
    }

    /// Starts to listen, and returns the address with the port that the system chose.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn listen(self) -> Result<(Listener, Address), SocketError> {
        let Self { address, inner } = self;
        let listening = match inner {
            UnlistenedSocket::Tcp(socket) => socket.listen(BACKLOG).and_then(|listener| {
                let bound = address.with_bound_address(listener.local_addr()?);
                Ok((Listener::Tcp(listener), bound))
            }),
            UnlistenedSocket::Unix(socket, file) => socket.listen(BACKLOG).and_then(|listener| {
                let Address::Unix(path) = &address else { return Err(ErrorKind::InvalidInput.into()) };
                Ok((Listener::Unix(listener, file.move_to(path)?), address.clone()))
            }),
        };
        listening.map_err(|error| SocketError { address, error })
    }
}

impl Listener {
    /// Waits for a connection.
    ///
    /// # Errors
    /// The system gives no connection, for example because no file descriptor is left.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and complete, so waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                // A client that does not read its answers must not hold its connection slot without end.
                #[cfg(target_os = "linux")]
                let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

fn bind_tcp(wanted: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if wanted.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(wanted)?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixSocket, SocketFile)> {
    check_path_is_free(path)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
    let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // A process that was killed here leaves the file. In containers every process has the same id, so the
    // name may be in use.
    if fs::symlink_metadata(&beside).is_ok_and(|left| left.file_type().is_socket()) {
        fs::remove_file(&beside)?;
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(&beside)?;
    let file = SocketFile::at(beside)?;
    fs::set_permissions(&file.path, Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Checks that a path is free, or has the socket of a process that has ended.
fn check_path_is_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::other(
                "the path has a file that is not a socket: remove it, or use another path",
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that is too busy to accept a connection is alive.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if [ErrorKind::ConnectionRefused, ErrorKind::NotFound].contains(&error.kind()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "another process is listening on it")),
    }
}

/// The file of a unix socket. It is removed when this is dropped, unless the path has another file by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }

    /// Renames it to its path, over the socket of a process that has ended.
    fn move_to(mut self, path: &Path) -> io::Result<Self> {
        check_path_is_free(path)?;
        fs::rename(&self.path, path)?;
        path.clone_into(&mut self.path);
        Ok(self)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // An error here could not be reported.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
