//! Files as they come: empty, cut, damaged, hostile; and the program that reads them.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a test that fails should say so
#![allow(clippy::cast_possible_truncation)] // lengths of these files are small

use std::io::Write;
use std::process::{Command, Stdio};

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader, TcpOptions};
use ropeway_why::{Options, Report, why};

/// A segment in an IPv4 packet.
fn packet(from_client: bool, seq: u32, ack: u32, flags: TcpFlags, data: usize) -> Vec<u8> {
    let (src_port, dst_port) = if from_client { (40_000, 80) } else { (80, 40_000) };
    let options = if flags.contains(TcpFlags::SYN) {
        TcpOptions { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..TcpOptions::default() }
    } else {
        TcpOptions::default()
    };
    let header = TcpHeader {
        src_port,
        dst_port,
        seq: SeqNum::new(seq),
        ack: SeqNum::new(ack),
        flags,
        window: 500,
        options,
        ..TcpHeader::default()
    };
    let mut tcp = [0; 60];
    let len = header.emit(&mut tcp);
    let total = (20 + len + data) as u16;
    let [high, low] = total.to_be_bytes();
    let mut bytes = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
    let (src, dst) =
        if from_client { ([10, 0, 0, 1], [10, 0, 0, 2]) } else { ([10, 0, 0, 2], [10, 0, 0, 1]) };
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(&tcp[..len]);
    bytes.extend(vec![7; data]);
    bytes
}

/// A connection that is opened, carries 100 bytes, and is reset.
fn conversation() -> Vec<(u64, Vec<u8>)> {
    let ack = TcpFlags::ACK;
    vec![
        (0, packet(true, 1000, 0, TcpFlags::SYN, 0)),
        (20_000, packet(false, 5000, 1001, TcpFlags::SYN | ack, 0)),
        (20_100, packet(true, 1001, 5001, ack, 0)),
        (21_000, packet(true, 1001, 5001, ack, 100)),
        (41_000, packet(false, 5001, 1101, ack, 0)),
        (50_000, packet(false, 5001, 1101, TcpFlags::RST | ack, 0)),
    ]
}

fn pcap(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::from(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0]);
    for (at, bytes) in frames {
        for field in
            [(at / 1_000_000) as u32, (at % 1_000_000) as u32, bytes.len() as u32, bytes.len() as u32]
        {
            file.extend(field.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

/// The same as pcapng: with nanoseconds, and in big-endian order.
fn pcapng(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let len = (body.len() + 12) as u32;
        file.extend(kind.to_be_bytes());
        file.extend(len.to_be_bytes());
        file.extend(body);
        file.extend(len.to_be_bytes());
    };
    block(0x0a0d_0d0a, &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    block(1, &[0, 101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
    for (at, bytes) in frames {
        let nanos = at * 1000;
        let mut body = Vec::from(0_u32.to_be_bytes());
        for field in [(nanos >> 32) as u32, nanos as u32, bytes.len() as u32, bytes.len() as u32] {
            body.extend(field.to_be_bytes());
        }
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        block(6, &body);
    }
    file
}

fn read(file: &[u8]) -> Result<Report, String> {
    why(file, &Options::default()).map_err(|error| error.to_string())
}

#[test]
fn both_formats_say_the_same() {
    let texts = [pcap(&conversation()), pcapng(&conversation())]
        .map(|file| read(&file).expect("a capture").text(true));
    assert_eq!(texts[0], texts[1]);
    for part in ["SYN to SYN-ACK 20.0 ms", "made at the client", "The server reset the connection", "[1 2 3]"]
    {
        assert!(texts[0].contains(part), "{part:?} is not in {}", texts[0]);
    }
}

#[test]
fn what_is_no_capture_is_one_line() {
    for (file, line) in [
        (&b""[..], "the capture is empty: not even a header is in it"),
        (b"GET / HTTP/1.1\r\n\r\n, and so on for a while", "this is neither a pcap nor a pcapng file"),
        (b"x", "this is neither a pcap nor a pcapng file"),
        (
            &[0x1f, 0x8b, 8, 0, 0, 0],
            "the capture is compressed: decompress it first, e.g. zcat FILE | ropeway why -",
        ),
    ] {
        assert_eq!(read(file).expect_err("no capture"), line);
    }
}

#[test]
fn a_capture_that_was_interrupted_is_read_as_far_as_it_goes() {
    for whole in [pcap(&conversation()), pcapng(&conversation())] {
        for len in 60..whole.len() {
            let report = read(&whole[..len]).expect("a beginning");
            assert!(report.connections.len() <= 1);
        }
        let report = read(&whole[..whole.len() - 3]).expect("nearly all");
        assert!(report.text(false).contains("The file ends in the middle of a frame"));
    }
}

#[test]
fn a_frame_that_is_cut_anywhere_is_no_panic() {
    for headers in 1..60 {
        let mut file = pcap(&[]);
        for (at, bytes) in conversation() {
            let kept = bytes.len().min(headers);
            for field in [0, at as u32, kept as u32, bytes.len() as u32] {
                file.extend(field.to_le_bytes());
            }
            file.extend(&bytes[..kept]);
        }
        let report = read(&file).expect("a capture");
        assert_eq!(report.totals.frames, 6);
        if headers >= 40 {
            assert_eq!(report.connections[0].directions[0].bytes, 100, "lengths come from the headers");
        }
    }
}

#[test]
fn a_length_that_lies_costs_neither_memory_nor_a_panic() {
    let mut file = pcap(&conversation());
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    file.extend(vec![0; 20_000_000]);
    let error = read(&file).expect_err("a frame of 2 GiB");
    assert!(error.starts_with("the capture is damaged after frame 6"), "{error}");
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    // A generator of Park and Miller's.
    let mut state = 1_u64;
    let mut random = move || {
        state = state * 48_271 % 0x7fff_ffff;
        state
    };
    for whole in [pcap(&conversation()), pcapng(&conversation())] {
        for _ in 0..1500 {
            let mut file = whole.clone();
            for _ in 0..=random() % 8 {
                let at = random() as usize % file.len();
                file[at] = random() as u8;
            }
            if let Ok(report) = read(&file) {
                let _ = (report.text(true), report.json().expect("a document"), report.html());
            }
        }
    }
}

#[test]
fn the_program_reads_a_pipe_and_writes_all_three_forms() {
    let page = std::env::temp_dir().join(format!("ropeway-why-{}.html", std::process::id()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_ropeway"));
    program.args(["why", "-", "--json", "--html"]).arg(&page).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = program.spawn().expect("the program");
    running.stdin.take().expect("its input").write_all(&pcapng(&conversation())).expect("it reads");
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["connections"][0]["directions"][0]["bytes"], 100);
    let html = std::fs::read_to_string(&page).expect("a page");
    std::fs::remove_file(&page).expect("it is ours");
    assert!(html.contains("reset the connection") && html.ends_with("</html>"));
    assert!(!html.contains("http://") && !html.contains("https://"), "it needs no network");

    let missing = Command::new(env!("CARGO_BIN_EXE_ropeway"))
        .args(["why", "/nowhere/at.all"])
        .output()
        .expect("the program");
    assert!(!missing.status.success());
    assert_eq!(String::from_utf8_lossy(&missing.stderr).lines().count(), 1);
}
