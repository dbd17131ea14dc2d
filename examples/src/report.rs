//! Words between an example and who runs it.

use std::error::Error;
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

/// Reads a number of bytes such as `512`, `64k`, `200M` or `1G`, in powers of 1024.
///
/// # Errors
///
/// What such a number looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "B") => Some(1),
        Some("k" | "K" | "KiB") => Some(1 << 10),
        Some("M" | "MiB") => Some(1 << 20),
        Some("G" | "GiB") => Some(1 << 30),
        _ => None,
    };
    let size = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    size.ok_or_else(|| "expected a number of bytes such as 512, 64k, 200M or 1G".to_owned())
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
    url.ok_or_else(|| "expected a URL such as http://10.0.0.1:8080/x (there is no TLS here)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("64k"), Ok(65536));
        assert_eq!(parse_size("200M"), Ok(200 * 1024 * 1024));
        for nonsense in ["", "M", "-1", "1.5M", "1X", "99999999999G", "1 M"] {
            assert!(parse_size(nonsense).is_err(), "{nonsense}");
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
        assert!(parse_url("http://10.0.0.1").is_ok());
        for nonsense in ["", "10.0.0.1", "/x", "https://10.0.0.1/", "http://", "http:// /"] {
            assert!(parse_url(nonsense).is_err(), "{nonsense}");
        }
    }
}
