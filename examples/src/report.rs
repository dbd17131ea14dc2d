//! Words between an example and who runs it.

use std::error::Error;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::process::ExitCode;

use hyper::Uri;

/// Prints a line, as `println!` does; but whoever reads it may stop, as `head` does, which is no reason to panic.
#[macro_export]
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}

/// Ends an example: an error becomes one line, with its causes.
pub fn exit_code(program: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    eprintln!("{program}: {line}");
    ExitCode::FAILURE
}

/// Seconds of patience on the command line: none at all would give up before anything could be sent.
#[must_use]
pub fn seconds() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..=86_400)
}

/// Columns that a drawing may have: those of the terminal; any number where the output is read by a program.
#[must_use]
pub fn columns() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let of_terminal = || {
        let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
        Some(usize::from(columns))
    };
    if std::io::stdout().is_terminal() { of_terminal().or(columns).unwrap_or(usize::MAX) } else { usize::MAX }
}

/// The largest body there is, in bytes: a tebibyte.
const MAX_SIZE: u64 = 1 << 40;

/// Reads a number of bytes such as `512`, `64k`, `200M` or `1G`, in powers of 1024.
///
/// # Errors
///
/// What such a number looks like, or that it is too large.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "B") => Some(1),
        Some("k" | "K" | "KiB") => Some(1 << 10),
        Some("M" | "MiB") => Some(1 << 20),
        Some("G" | "GiB") => Some(1 << 30),
        _ => None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let unit = unit
        .filter(|_| is_number)
        .ok_or_else(|| "expected a number of bytes such as 512, 64k, 200M or 1G".to_owned())?;
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| *size <= MAX_SIZE).ok_or_else(|| "that is too much: 1024G is the most".to_owned())
}

/// Reads a port such as `80`, or a range of them such as `8000-8100`.
///
/// # Errors
///
/// What such a range looks like.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range =
        first.parse::<u16>().ok().zip(last.parse().ok()).filter(|(first, last)| 0 < *first && first <= last);
    range.map(|(first, last)| first..=last).ok_or_else(|| "expected ports such as 22,80,8000-8100".to_owned())
}

/// Reads the URL of a page.
///
/// # Errors
///
/// What such a URL looks like.
pub fn parse_url(text: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>().ok();
    let url = url.filter(|url| url.scheme_str() == Some("http") && url.host().is_some());
    let url =
        url.ok_or_else(|| "expected a URL such as http://10.0.0.1:8080/x (there is no TLS here)".to_owned())?;
    let (authority, host) = (url.authority().map_or("", |authority| authority.as_str()), url.host());
    if authority.contains('@') {
        return Err("a URL with a user's name or password is not for this example".to_owned());
    }
    // What the library cannot read as a port is no port to it, and 80 would be meant.
    let port = host.and_then(|host| authority.strip_prefix(host)).unwrap_or_default();
    match port.strip_prefix(':') {
        None | Some("") => Ok(url),
        Some(digits) if digits.parse::<u16>().is_ok_and(|port| port > 0) => Ok(url),
        Some(digits) => Err(format!("{digits} is no port: they go from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("64k"), Ok(65536));
        assert_eq!(parse_size("200M"), Ok(200 * 1024 * 1024));
        assert_eq!(parse_size("1024G"), Ok(1 << 40));
        for nonsense in ["", "M", "-1", "1.5M", "1X", "1 M", "+1"] {
            assert!(parse_size(nonsense).unwrap_err().contains("200M"), "{nonsense}");
        }
        for much in ["1025G", "99999999999G", "99999999999999999999", "18446744073709551616"] {
            assert!(parse_size(much).unwrap_err().contains("1024G is the most"), "{much}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(parse_ports("80"), Ok(80..=80));
        assert_eq!(parse_ports("1-65535"), Ok(1..=65535));
        for nonsense in ["", "0", "0-9", "-", "80-", "90-80", "65536", "ssh", "1-2-3"] {
            assert!(parse_ports(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn urls() {
        assert_eq!(parse_url("http://[fd09::1]:8080/x?y").unwrap().host(), Some("[fd09::1]"));
        for good in ["http://10.0.0.1", "http://h:/", "http://h:65535/x", "http://[fd09::1]/"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in ["http://h:99999/", "http://h:0/", "http://[fd09::1]:65536/", "http://h:-1/"] {
            assert!(
                parse_url(bad).is_err_and(|why| why.contains("port") || why.contains("expected")),
                "{bad}"
            );
        }
        assert!(parse_url("http://me:secret@h/").unwrap_err().contains("password"));
        for nonsense in ["", "10.0.0.1", "/x", "https://10.0.0.1/", "http://", "http:// /"] {
            assert!(parse_url(nonsense).is_err(), "{nonsense}");
        }
    }
}
