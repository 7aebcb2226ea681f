//! Who asks a service. Every wait has a deadline.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::view::{
    Devices, Kernel, Kernels, Lifted, Loaded, Maps, Problem, State, Status, Unloaded,
};
use crate::{Endpoint, InvalidEndpoint, Reloaded};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;
/// Sockets that are looked at in the default place.
const MOST_SOCKETS: usize = 256;

/// Asks a service, over its control endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    endpoint: Endpoint,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error("nothing runs at {endpoint}: {error}")]
    NotRunning {
        /// The endpoint.
        endpoint: Endpoint,
        /// What the system says.
        error: io::Error,
    },
    /// There is no answer in time.
    #[error("{endpoint} has not answered within {within:?}")]
    TimedOut {
        /// The endpoint.
        endpoint: Endpoint,
        /// How long was waited.
        within: Duration,
    },
    /// The service says no.
    #[error("{}", .problem.error)]
    Refused {
        /// The status, as in HTTP.
        status: u16,
        /// What it says.
        problem: Problem,
    },
    /// The connection ended half-way.
    #[error("the connection to {endpoint} ended before its answer: {error}")]
    Broken {
        /// The endpoint.
        endpoint: Endpoint,
        /// What was wrong.
        error: String,
    },
    /// What listens there is something else, or a service of another version.
    #[error("{endpoint} has not answered as a service does: {error}")]
    Strange {
        /// The endpoint.
        endpoint: Endpoint,
        /// What was wrong.
        error: String,
    },
}

/// Why no service was found to ask.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// None runs.
    #[error("no service runs: there is none in {0}")]
    None(PathBuf),
    /// More than one does, and which one is meant was not said.
    #[error("several services run: {}", .0.iter().map(Endpoint::name).collect::<Vec<_>>().join(", "))]
    Several(Vec<Endpoint>),
    /// The environment names no endpoint.
    #[error("RUSTKERNEL_ENDPOINT: {0}")]
    Environment(#[from] InvalidEndpoint),
    /// The default place cannot be read.
    #[error("cannot look for services in {directory}: {error}")]
    Unreadable {
        /// The place.
        directory: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Client {
    /// Asks the service at that endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    /// Asks the service that the environment names, or the only one in the default
    /// [directory](Endpoint::directory).
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find() -> Result<Self, FindError> {
        if let Some(endpoint) = Endpoint::from_env()? {
            return Ok(Self::new(endpoint));
        }
        let mut found = Vec::new();
        for endpoint in sockets()? {
            let client = Self::new(endpoint);
            if !matches!(client.connect().await, Err(ClientError::NotRunning { .. })) {
                found.push(client);
            }
        }
        match found.len() {
            0 => Err(FindError::None(Endpoint::directory())),
            1 => Ok(found.remove(0)),
            _ => Err(FindError::Several(found.into_iter().map(|one| one.endpoint).collect())),
        }
    }

    /// Whom it asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How the service is.
    ///
    /// # Errors
    /// [`ClientError`], as of all that follow.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/admin/v1/status").await
    }

    /// Its kernels, without their history.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn kernels(&self) -> Result<Kernels, ClientError> {
        self.ask(Method::GET, "/admin/v1/kernels").await
    }

    /// One of its kernels.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with 404 if there is none of that name.
    pub async fn kernel(&self, name: &str) -> Result<Kernel, ClientError> {
        self.ask(Method::GET, &format!("/admin/v1/kernels/{}", escaped(name))).await
    }

    /// Its devices.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn devices(&self) -> Result<Devices, ClientError> {
        self.ask(Method::GET, "/admin/v1/devices").await
    }

    /// What lies where in the memory of one of its devices.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with 404 if it does not use that device.
    pub async fn map(&self, device: &str) -> Result<Maps, ClientError> {
        self.ask(Method::GET, &format!("/admin/v1/devices/{}/map", escaped(device))).await
    }

    /// Its configuration.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with 404 if it was started without.
    pub async fn config(&self) -> Result<serde_json::Value, ClientError> {
        self.ask(Method::GET, "/admin/v1/config").await
    }

    /// Has it finish what is in flight, and end.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn drain(&self) -> Result<State, ClientError> {
        self.ask(Method::POST, "/admin/v1/drain").await
    }

    /// Has it cancel what is in flight, and end.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn stop(&self) -> Result<State, ClientError> {
        self.ask(Method::POST, "/admin/v1/stop").await
    }

    /// Has it read its configuration again.
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with 409 if it has none, with 422 if it is wrong.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.ask(Method::POST, "/admin/v1/reload").await
    }

    /// Has it restart a kernel.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn restart(&self, kernel: &str) -> Result<State, ClientError> {
        self.ask(Method::POST, &format!("/admin/v1/kernels/{}/restart", escaped(kernel))).await
    }

    /// Has it lift a kernel's quarantine.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn lift(&self, kernel: &str) -> Result<Lifted, ClientError> {
        self.ask(Method::POST, &format!("/admin/v1/kernels/{}/lift", escaped(kernel))).await
    }

    /// Has it unload a kernel, and waits that long until this is done. (It goes on all the same.)
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn unload(&self, kernel: &str, within: Duration) -> Result<Unloaded, ClientError> {
        let path = format!("/admin/v1/kernels/{}/unload", escaped(kernel));
        self.ask_within(Method::POST, &path, within).await
    }

    /// Has it load a kernel, and waits that long until this is done. (It goes on all the same.)
    ///
    /// # Errors
    /// [`ClientError`]; [`Refused`](ClientError::Refused) with 503 if memory is too short for it.
    pub async fn load(&self, kernel: &str, within: Duration) -> Result<Loaded, ClientError> {
        let path = format!("/admin/v1/kernels/{}/load", escaped(kernel));
        self.ask_within(Method::POST, &path, within).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        self.ask_within(method, path, ANSWER).await
    }

    async fn ask_within<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        within: Duration,
    ) -> Result<T, ClientError> {
        let stream = self.connect().await?;
        let exchange = self.exchange(stream, method, path);
        let (status, body) = timeout(within, exchange).await.map_err(|_| self.late(within))??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.strange(error));
        }
        let problem = serde_json::from_slice(&body).map_err(|error| self.strange(error))?;
        Err(ClientError::Refused { status: status.as_u16(), problem })
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let connected = timeout(CONNECT, UnixStream::connect(self.endpoint.path())).await;
        let connected = connected.map_err(|_| self.late(CONNECT))?;
        connected
            .map_err(|error| ClientError::NotRunning { endpoint: self.endpoint.clone(), error })
    }

    async fn exchange(
        &self,
        stream: UnixStream,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let broken = |error: hyper::Error| match error.is_parse() {
            true => self.strange(error),
            false => self.broken(error),
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request =
            Request::builder().method(method).uri(path).header(header::HOST, "rustkernel");
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| self.strange(error))?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(broken)?;
            self.read(response).await
        };
        // The connection moves the bytes; it ends when nobody asks any more.
        let (answer, _ended) = tokio::join!(answer, connection);
        answer
    }

    async fn read(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes), ClientError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST).collect().await;
        let body = body.map_err(|error| self.broken(error))?;
        Ok((head.status, body.to_bytes()))
    }

    fn late(&self, within: Duration) -> ClientError {
        ClientError::TimedOut { endpoint: self.endpoint.clone(), within }
    }

    fn broken(&self, error: impl ToString) -> ClientError {
        ClientError::Broken { endpoint: self.endpoint.clone(), error: error.to_string() }
    }

    fn strange(&self, error: impl ToString) -> ClientError {
        ClientError::Strange { endpoint: self.endpoint.clone(), error: error.to_string() }
    }
}

/// The sockets in the default place, by name.
fn sockets() -> Result<Vec<Endpoint>, FindError> {
    let directory = Endpoint::directory();
    let unreadable = |error| FindError::Unreadable { directory: directory.clone(), error };
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "sock") {
            found.push(path);
        }
    }
    found.sort();
    found.truncate(MOST_SOCKETS);
    Ok(found.into_iter().map(Endpoint::from).collect())
}

/// A kernel's name as a part of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let escape = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_byte_by_byte() {
        assert_eq!(escaped("gemm-2"), "gemm-2");
        assert_eq!(escaped("a/b é"), "a%2Fb%20%C3%A9");
    }
}
