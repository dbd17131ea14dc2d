//! Moving data.

use ropeway_core::{ConnectionId, Readiness, RecvError, SendError, SendFlags, State};

use super::super::ast::{Call, Expr};
use super::super::flow::byte_at;
use super::super::run::{Runner, Stop};
use super::super::settings::Mode;
use super::super::sockets::{Done, Socket, recv_errno, send_errno};
use super::Pending;

impl Runner<'_> {
    pub(super) fn receive(&mut self, call: &Call, pending: &mut Pending) -> Result<Done, Stop> {
        let (text, max) = self.buffers(call)?;
        let flags = self.flags_of(call)?;
        if flags.contains("MSG_ERRQUEUE") {
            return self.error_queue(call);
        }
        if flags.contains("MSG_TRUNC") {
            return Err(Stop::Unsupported("MSG_TRUNC".into()));
        }
        // Urgent data is in line, always (RFC 6093 6): there is nothing to read out of band.
        if flags.contains("MSG_OOB") {
            return Ok(Done::Error("EINVAL"));
        }
        let nonblocking = match self.socket_at(&call.args)? {
            Ok(socket) => socket.nonblocking || flags.contains("MSG_DONTWAIT"),
            Err(error) => return Ok(error),
        };
        let Some(id) = self.connection_at(&call.args)? else {
            let deferred = self.socket_at(&call.args)?.is_ok_and(|socket| socket.deferred);
            return Ok(Done::Error(if deferred { "EAGAIN" } else { "ENOTCONN" }));
        };
        let now = self.ts();
        let peek = flags.contains("MSG_PEEK");
        let max = max - pending.progress;
        let result = if peek {
            let mut buf = vec![0; max];
            self.stack.peek(id, &mut buf).map(|len| buf[..len].to_vec())
        } else if max == 0 {
            Ok(Vec::new())
        } else {
            self.stack.recv(now, id, max).map(|payload| payload.to_vec())
        };
        match result {
            Ok(bytes) => {
                self.check_read(id, &bytes, text.as_deref(), peek)?;
                self.check_unread(id, call)?;
                pending.progress += bytes.len();
                if flags.contains("MSG_WAITALL") && bytes.len() < max && !bytes.is_empty() && !nonblocking {
                    return Ok(Done::Blocks);
                }
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(i64::MAX)))
            }
            Err(RecvError::WouldBlock) if !nonblocking => Ok(Done::Blocks),
            Err(error) => Ok(Done::Error(recv_errno(error))),
        }
    }

    /// `TCP_CM_INQ`: what is left to read, and one more at the end of the stream.
    fn check_unread(&self, id: ConnectionId, call: &Call) -> Result<(), Stop> {
        let Some(control) = call.args.get(1).and_then(|header| header.field("msg_control")) else {
            return Ok(());
        };
        match control.field("cmsg_type") {
            Some(Expr::Word(word)) if word == "TCP_CM_INQ" => {}
            other => return Err(Stop::Unsupported(format!("{other:?}"))),
        }
        let unread = self.stack.info(self.ts(), id).map_or(0, |info| info.unread);
        let ended = unread == 0 && self.stack.readiness(id).contains(Readiness::READ_CLOSED);
        let actual = i64::try_from(unread).unwrap_or(i64::MAX) + i64::from(ended);
        self.check_value("TCP_CM_INQ", control.field("cmsg_data"), actual)
    }

    /// What is read is what was sent.
    pub(super) fn check_read(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        text: Option<&[u8]>,
        peek: bool,
    ) -> Result<(), Stop> {
        let wrong = match self.flow_of_connection(id) {
            Some(flow) => {
                let start = flow.read;
                flow.read += if peek { 0 } else { bytes.len() };
                let trusted = !flow.untrusted;
                bytes.iter().zip(start..).find(|(byte, at)| trusted && **byte != byte_at(*at))
            }
            None => None,
        };
        if let Some(text) = text {
            return if text.starts_with(bytes) { Ok(()) } else { Err(self.fail("other bytes were read")) };
        }
        match wrong {
            Some((byte, at)) => {
                Err(self.fail(format!("byte {at} of the stream is read as {byte:#04x}, not as it was sent")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn transmit(&mut self, call: &Call, pending: &mut Pending) -> Result<Done, Stop> {
        let (text, len) = self.buffers(call)?;
        let flags = self.flags_of(call)?;
        for flag in ["MSG_EOR", "MSG_SPLICE_PAGES"] {
            if flags.contains(flag) {
                return Err(Stop::Unsupported(flag.into()));
            }
        }
        let nonblocking = match self.socket_at(&call.args)? {
            Ok(socket) => socket.nonblocking || flags.contains("MSG_DONTWAIT"),
            Err(error) => return Ok(error),
        };
        // Some scripts have its number.
        let is_fast = flags.contains("MSG_FASTOPEN") || flags.contains("536870912");
        let deferred = self.socket_at(&call.args)?.is_ok_and(|socket| socket.deferred);
        if (is_fast || deferred || pending.begun)
            && let Some(done) = self.transmit_fast(call, pending, (text.as_deref(), len), nonblocking)?
        {
            return Ok(done);
        }
        let Some(id) = self.connection_at(&call.args)? else { return Ok(Done::Error("EPIPE")) };
        if self.settings.mode == Mode::Packetdrill && !self.settings.bsd && self.state(id) == State::SynSent {
            // Ours takes what is written then (RFC 9293 3.10.2).
            return Ok(if nonblocking { Done::Error("EAGAIN") } else { Done::Blocks });
        }
        let now = self.ts();
        let start = self.flow_of_connection(id).map_or(0, |flow| flow.written.len());
        let whole = text.unwrap_or_default();
        let rest: Vec<u8> = (pending.progress..len)
            .map(|at| whole.get(at).copied().unwrap_or_else(|| byte_at(start + at - pending.progress)))
            .collect();
        let lends = flags.contains("MSG_ZEROCOPY");
        let flags = SendFlags { more: flags.contains("MSG_MORE"), urgent: flags.contains("MSG_OOB") };
        let lent = match self.socket_at(&call.args)? {
            Ok(Socket { zero_copy: Some(zero_copy), .. }) if lends && len > 0 => {
                Some(zero_copy.lend(rest.clone()))
            }
            _ => None,
        };
        let sent = match lent {
            Some(mut lent) => {
                let sent = self.stack.send_bytes(now, id, &mut lent, flags);
                drop(lent);
                if let Ok(Socket { zero_copy: Some(zero_copy), .. }) = self.socket_at(&call.args)? {
                    zero_copy.took(sent.is_ok());
                }
                sent
            }
            None => self.stack.send(now, id, &rest, flags),
        };
        match sent {
            Ok(taken) => {
                if let Some(flow) = self.flow_of_connection(id) {
                    flow.written.extend_from_slice(&rest[..taken]);
                }
                pending.progress += taken;
                if pending.progress < len && !nonblocking {
                    return Ok(Done::Blocks);
                }
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(i64::MAX)))
            }
            Err(SendError::WouldBlock) if !nonblocking => Ok(Done::Blocks),
            // What was written counts.
            Err(_) if pending.progress > 0 => {
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(0)))
            }
            Err(error) => Ok(Done::Error(send_errno(error))),
        }
    }

    /// The bytes that a call names, if it does, and how many there are.
    pub(super) fn buffers(&self, call: &Call) -> Result<(Option<Vec<u8>>, usize), Stop> {
        let args = &call.args;
        let vector = match call.name.as_str() {
            "readv" | "writev" => args.get(1),
            "recvmsg" | "sendmsg" => match args.get(1) {
                Some(Expr::Struct(fields)) => fields.iter().find_map(|field| match field {
                    Expr::Field(name, value) if name == "msg_iov" => Some(&**value),
                    _ => None,
                }),
                _ => None,
            },
            _ => {
                let text = match args.get(1) {
                    Some(Expr::Str(text)) => Some(text.clone()),
                    _ => None,
                };
                let at = if call.name == "sendfile" { 3 } else { 2 };
                let len = usize::try_from(self.number(args, at)?).unwrap_or(0);
                return Ok((text, len));
            }
        };
        let Some(Expr::List(parts)) = vector else { return Err(self.fail("expected [{..., length}]")) };
        let mut len = 0;
        for part in parts {
            let Expr::Struct(part) = part else { return Err(self.fail("expected {..., length}")) };
            len += usize::try_from(self.number(part, 1)?).unwrap_or(0);
        }
        Ok((None, len))
    }

    /// The names of a call's flags.
    pub(in crate::script) fn flags_of(&self, call: &Call) -> Result<String, Stop> {
        let at = match call.name.as_str() {
            "recv" | "send" | "recvfrom" | "sendto" => 3,
            "recvmsg" | "sendmsg" => 2,
            _ => return Ok(String::new()),
        };
        Ok(call.args.get(at).map_or(String::new(), |flags| format!("{flags:?}")))
    }
}
