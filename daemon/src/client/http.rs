//! One request by `POST`, and the body that answers it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{ANSWER_BYTES, Trouble};

/// Asks the daemon that serves `path` at `authority` (host and port).
pub(super) fn ask(
    authority: &str,
    path: &str,
    request: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = Bytes::copy_from_slice(request);
    let exchange = async { tokio::time::timeout(limit, exchange(authority, path, request)).await };
    let outcome = runtime.block_on(exchange);
    // A name lookup that hangs must not hold us longer than we said.
    runtime.shutdown_background();
    outcome.unwrap_or(Err(Trouble::Late))
}

async fn exchange(authority: &str, path: &str, request: Bytes) -> Result<Vec<u8>, Trouble> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(other)?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(request))
        .map_err(other)?;
    let response = sender.send_request(request).await.map_err(other)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES)
        .collect()
        .await
        .map_err(other)?;
    connection.abort();
    if !status.is_success() {
        return Err(Trouble::Other(format!(
            "answered {status}; is the path right?"
        )));
    }
    Ok(body.to_bytes().into())
}

fn other(error: impl std::fmt::Display) -> Trouble {
    Trouble::Other(error.to_string())
}
