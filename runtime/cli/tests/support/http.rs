//! Plain HTTP on a connection that is kept.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// An answer: its status, its head in small letters, its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// One request on a connection: GET, or POST where there is a body. `headers` end in a line's end.
pub(crate) fn exchange(
    stream: &mut TcpStream,
    path: &str,
    headers: &str,
    body: Option<&str>,
) -> io::Result<Answer> {
    let (method, body) = body.map_or(("GET", ""), |body| ("POST", body));
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let end = loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&some[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    let had = bytes.len();
    bytes.resize(end + length, 0);
    stream.read_exact(&mut bytes[had.min(end + length)..])?;
    answer.body = String::from_utf8(bytes[end..].to_vec()).unwrap();
    Ok(answer)
}
