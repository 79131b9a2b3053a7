//! One gRPC call over a unix socket.
//!
//! Owns the framing of gRPC over HTTP/2. Knows no service: messages are whatever `prost` encodes.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;
use tokio::{net::UnixStream, runtime, time::timeout};

/// Calls a method (`/package.Service/Method`) and waits for its answer.
pub(crate) fn call<Answer: Message + Default>(socket: &Path, method: &str, request: &impl Message) -> Result<Answer> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(request.encoded_len())?);
    request.encode(&mut framed)?;
    let answer = runtime.block_on(async { timeout(WITHIN, exchange(socket, method, framed.freeze())).await });
    let answer = answer.with_context(|| format!("{method}: no answer within {WITHIN:?}"))??;
    // One byte of flags and four of length.
    let message = answer.get(5..).with_context(|| format!("{method}: a short answer"))?;
    Answer::decode(message).with_context(|| format!("{method}: not the message it should be"))
}

async fn exchange(socket: &Path, method: &str, framed: Bytes) -> Result<Vec<u8>> {
    let stream = UnixStream::connect(socket).await.with_context(|| format!("connecting to {}", socket.display()))?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut body) = client.ready().await?.send_request(request, false)?;
    body.send_data(framed, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut answer = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        answer.extend_from_slice(&part);
    }
    // A refusal may come without a body, and then its status is in the head.
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    connection.abort();
    refusal(&trailers).with_context(|| method.to_owned())?;
    Ok(answer)
}

fn refusal(trailers: &HeaderMap) -> Result<()> {
    let text = |name| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let status = text("grpc-status").context("an answer without a status")?;
    ensure!(status.parse::<u32>().is_ok(), "status {status:?}");
    if status != "0" {
        bail!("status {status}: {}", text("grpc-message").unwrap_or_default());
    }
    Ok(())
}

/// A pod takes a quarter of a second; the rest is for a machine that compiles beside it.
const WITHIN: Duration = Duration::from_secs(60);
