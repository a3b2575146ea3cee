//! A small HTTP/1.1 client. It sends paths exactly as given, while client libraries normalize or refuse them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any gateway waits for an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An open connection.
pub struct Client(BufReader<TcpStream>);

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The value of a header; case does not matter in its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request and reads the answer. It is an error if the connection fails.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut lines = vec![format!("{method} {target} HTTP/1.1"), "Host: gateway.example".to_owned()];
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if method != "GET" || !body.is_empty() {
            lines.push(format!("Content-Length: {}", body.len()));
        }
        let stream = self.0.get_mut();
        stream.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes())?;
        // A gateway may refuse the request before it has read the whole body.
        let _ = stream.write_all(body);
        self.reply(method)
    }

    fn reply(&mut self, method: &str) -> std::io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: String::new() };
        if method != "HEAD" && status != 204 {
            let body = self.body(&reply)?;
            reply.body = String::from_utf8_lossy(&body).into_owned();
        }
        Ok(reply)
    }

    fn body(&mut self, reply: &Reply) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = reply.header("content-length").and_then(|length| length.parse().ok()) {
            body.resize(length, 0);
            self.0.read_exact(&mut body)?;
        } else if reply.header("transfer-encoding").is_some() {
            loop {
                let length = usize::from_str_radix(self.line()?.trim(), 16).map_err(std::io::Error::other)?;
                let mut chunk = vec![0; length];
                self.0.read_exact(&mut chunk)?;
                self.line()?;
                if length == 0 {
                    break;
                }
                body.extend(chunk);
            }
        } else {
            self.0.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
