//! HTTP/2 by hand: a connection that sends many times what a client library can.
//!
//! A flood must not be slowed down by those who make it. So everything that is the same for every request is encoded
//! once (after the first request of a connection its headers are seven bytes, all of them references into the table
//! of RFC 7541), and of an answer only its shape is looked at: a message came, or none did and it is a refusal.

use std::{collections::HashMap, io, net::SocketAddr};

use prost::Message;
use tokio::{io::Interest, net::TcpStream, time::Instant};

/// What every connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags of frames.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Bytes before a frame's payload.
const FRAME_HEAD: usize = 9;
/// The window that every connection has at first.
const WINDOW: i64 = 65_535;
/// The largest window there is: the answers of a whole flood fit into it.
const WINDOW_MAX: u32 = 0x7fff_ffff;
/// Requests at once before the server has said how many it takes.
const STREAMS_AT_FIRST: usize = 100;
/// Bytes read at a time.
const READ: usize = 64 << 10;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a message.
    Answered,
    /// With a status and no message.
    Refused,
    /// Without either.
    Broken,
}

/// A connection that calls one method.
pub struct Wire {
    socket: TcpStream,
    /// The headers of the first request, then those of all later ones.
    first: Option<Vec<u8>>,
    out: Vec<u8>,
    incoming: Vec<u8>,
    next_stream: u32,
    window: i64,
    streams_max: usize,
    /// When each request was sent, and whether its message has come.
    open: HashMap<u32, (Instant, bool)>,
}

impl Wire {
    /// Connects for calls of the method at a path.
    pub async fn open(addr: SocketAddr, path: &str, token: &str) -> Self {
        let socket = TcpStream::connect(addr).await.expect("the shop is open");
        socket.set_nodelay(true).expect("a socket");
        let mut out = PREFACE.to_vec();
        // Answers may be as large as they like: nothing here ever asks the server to wait.
        frame(&mut out, SETTINGS, 0, 0, &[&4_u16.to_be_bytes()[..], &WINDOW_MAX.to_be_bytes()].concat());
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - 65_535).to_be_bytes());
        Self {
            socket,
            first: Some(headers(path, addr, token)),
            out,
            incoming: Vec::new(),
            next_stream: 1,
            window: WINDOW,
            streams_max: STREAMS_AT_FIRST,
            open: HashMap::new(),
        }
    }

    /// Whether the server lets one more request come on this connection.
    pub fn has_room(&self) -> bool {
        self.open.len() < self.streams_max && self.window > 0
    }

    /// Sends a request.
    pub fn send(&mut self, message: &impl Message) {
        let stream = self.next_stream;
        self.next_stream += 2;
        // By now the table holds, newest first: authorization, te, content-type, :authority, :path.
        let block = self.first.take().unwrap_or_else(|| vec![0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
        frame(&mut self.out, HEADERS, END_HEADERS, stream, &block);
        let length = u32::try_from(message.encoded_len()).expect("a small message");
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        message.encode(&mut body).expect("a vector takes everything");
        self.window -= i64::from(length) + 5;
        frame(&mut self.out, DATA, END_STREAM, stream, &body);
        self.open.insert(stream, (Instant::now(), false));
    }

    /// Waits until something can be read or written, and moves it. Hands over the requests that ended, with the
    /// moments at which they were sent.
    pub async fn turn(&mut self, ended: impl FnMut(Ended, Instant)) {
        let interest = if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let ready = self.socket.ready(interest).await.expect("a socket");
        if ready.is_readable() {
            self.read();
            self.parse(ended);
        }
        self.flush();
    }

    /// Writes as much as the socket takes now.
    pub fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.socket.try_write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the shop takes nothing more: {error}"),
            }
        }
    }

    fn read(&mut self) {
        loop {
            let had = self.incoming.len();
            self.incoming.resize(had + READ, 0);
            let read = self.socket.try_read(&mut self.incoming[had..]);
            self.incoming.truncate(had + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => panic!("the shop has closed a connection of the flood"),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the shop says nothing more: {error}"),
            }
        }
    }

    fn parse(&mut self, mut ended: impl FnMut(Ended, Instant)) {
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = incoming.as_slice();
        while let Some((head, more)) = rest.split_at_checked(FRAME_HEAD) {
            let length = number(&[0, head[0], head[1], head[2]]) as usize;
            let Some((payload, next)) = more.split_at_checked(length) else { break };
            let stream = number(&head[5..]) & WINDOW_MAX;
            if let Some((how, sent)) = self.take(head[3], head[4], stream, payload) {
                ended(how, sent);
            }
            rest = next;
        }
        self.incoming = rest.to_vec();
    }

    /// Takes one frame. Answers how a request ended, if one did.
    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<(Ended, Instant)> {
        let over = flags & END_STREAM != 0;
        match kind {
            DATA => {
                let call = self.open.get_mut(&stream)?;
                call.1 |= !payload.is_empty();
            }
            HEADERS if over => {
                let (sent, answered) = self.open.remove(&stream)?;
                return Some((if answered { Ended::Answered } else { Ended::Refused }, sent));
            }
            RESET => return self.open.remove(&stream).map(|(sent, _)| (Ended::Broken, sent)),
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 3]) {
                    self.streams_max = number(&setting[2..]) as usize;
                }
                frame(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(payload) & WINDOW_MAX),
            GO_AWAY => panic!("the shop sends the flood away: {payload:?}"),
            _ => {}
        }
        None
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    out.extend(&length[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// The headers of a call, each kept in the server's table for the next one (RFC 7541).
fn headers(path: &str, addr: SocketAddr, token: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are in everybody's table.
    let mut block = vec![0x83, 0x86];
    // The second byte of each name is its place in that table.
    named(&mut block, 4, path);
    named(&mut block, 1, &addr.to_string());
    named(&mut block, 31, "application/grpc");
    block.push(0x40);
    text(&mut block, "te");
    text(&mut block, "trailers");
    named(&mut block, 23, &format!("Bearer {token}"));
    block
}

fn named(block: &mut Vec<u8>, name: u8, value: &str) {
    block.push(0x40 | name);
    text(block, value);
}

/// A text as it is, after its length in seven bits and, where that is too few, in sevens of bits after them.
fn text(block: &mut Vec<u8>, text: &str) {
    match text.len().checked_sub(0x7f) {
        None => block.push(u8::try_from(text.len()).unwrap_or(0)),
        Some(mut more) => {
            block.push(0x7f);
            while more >= 0x80 {
                block.push(u8::try_from(more & 0x7f).unwrap_or(0) | 0x80);
                more >>= 7;
            }
            block.push(u8::try_from(more).unwrap_or(0));
        }
    }
    block.extend(text.as_bytes());
}
