//! Runs the examples as a user does, and reads what they print.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // what is not there fails the test

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// An example, as `cargo test` has built it beside the tests.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let path: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    Command::new(path)
}

fn run(name: &str, arguments: &[&str]) -> (Output, String) {
    let output = example(name).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

/// In CI there are the rights for a TUN device, so it must have been used.
fn uses_tun(text: &str) {
    if std::env::var_os("ROPEWAY_REQUIRE_TUN").is_some_and(|value| value == "1") {
        assert!(text.contains("TUN device rope0"), "{text}");
    }
}

#[test]
fn http_fetch_fetches_a_page_and_draws_its_way() {
    let (output, text) = run("http_fetch", &[]);
    assert!(output.status.success(), "{output:?}");
    uses_tun(&text);
    assert!(text.contains("200 OK") && text.contains("which is what the server sent"), "{text}");
    let states =
        ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"];
    for state in states {
        assert!(text.contains(state), "{state} in\n{text}");
    }
    assert!(text.find("[mss 1460").unwrap() < text.find("FIN,ACK").unwrap());
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn http_fetch_fetches_much_and_writes_a_capture() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fetch.pcap");
    let (output, text) = run("http_fetch", &["--size", "5M", "--pcap", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("5242880 bytes") && text.contains("to the left ..."), "{text}");
    let capture = fs::read(&file).unwrap();
    // pcap with nanoseconds, in the byte order that pcap-file chose, and LINKTYPE_RAW.
    assert!([0x4d3c_b2a1, 0xa1b2_3c4d].contains(&u32::from_le_bytes(capture[..4].try_into().unwrap())));
    assert!(capture[20..24].contains(&101));
    assert!(capture.len() > 5 << 20);
}

#[test]
fn http_fetch_draws_the_connection_and_a_span_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fetch.svg");
    let draw = |with: &[&str]| {
        let (output, text) =
            run("http_fetch", &[&["--size", "20M", "--plot", file.to_str().unwrap()], with].concat());
        assert!(output.status.success() && text.contains("drawn in"), "{output:?}");
        let svg = fs::read_to_string(&file).unwrap();
        assert!(svg.starts_with("<svg") && svg.len() < 500_000, "{} bytes", svg.len());
        svg
    };
    let whole = draw(&[]);
    for text in ["/bytes/20971520", "21.0 MB received", "SYN", "FIN", "Congestion window", "Round-trip time"]
    {
        assert!(whole.contains(text), "{text} in {whole}");
    }
    let start = draw(&["--plot-span", "0..0.000001"]);
    assert!(start.contains("SYN") && !start.contains("FIN"));
    let never = ["--size", "1", "--plot", file.to_str().unwrap(), "--plot-span", "1000..1001"];
    let (output, _) = run("http_fetch", &never);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--plot-span"));
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let fails = |arguments: &[&str], hint: &str| {
        let (output, _) = run("http_fetch", arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        let line = message.lines().next().unwrap_or_default();
        assert!(!output.status.success() && line.contains(hint), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    };
    let device = ["--tun", "norope0", "--address", "10.9.0.2/24"];
    fails(&["ftp://10.9.0.1/"], "http://");
    fails(&["http://10.9.0.1/"], "docs/TUN.md");
    fails(&[&["http://10.9.0.1/"], &device[..]].concat(), "norope0");
    fails(&[&["http://10.9.0.1/", "--via", "10.8.0.1"], &device[..]].concat(), "10.8.0.1");
    fails(&["http://10.9.0.1/", "--tun", "a-name-far-too-long", "--address", "10.9.0.2/24"], "15 bytes");
    fails(&["http://[fd09::1]/", "--tun", "norope0", "--address", "10.9.0.2/24"], "same IP version");
    fails(&["--size", "much"], "200M");
    fails(&["--size", "99999999G"], "1024G is the most");
    fails(&["--timeout", "0"], "--timeout");
    fails(&["http://h:99999/"], "65535");
    fails(&["http://h:0/"], "65535");
    fails(&["http://me:secret@h/"], "password");
    fails(&[&["http://10.9.0.1/"], &["--tun", "x", "--address", "10.9.0.2"][..]].concat(), "10.0.0.2/24");
    fails(&["--pcap", "/there/is/no/such/directory"], "/there/is/no/such/directory");
    fails(&["--plot", "/there/is/no/such/directory"], "/there/is/no/such/directory");
    fails(&["--plot-span", "0..1"], "required");
    fails(&["--plot", "x.svg", "--plot-span", "1..0"], "2..2.5");
}

#[test]
fn a_capture_that_is_not_complete_is_a_failure_that_names_the_file() {
    for size in ["1", "5M"] {
        let (output, _) = run("http_fetch", &["--size", size, "--pcap", "/dev/full"]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{message}");
        assert!(message.contains("the capture /dev/full ends early: No space left"), "{message}");
    }
}

#[test]
fn each_example_with_options_tells_its_version() {
    for name in ["http_fetch", "http_serve", "portscan"] {
        let (output, text) = run(name, &["--version"]);
        assert!(output.status.success() && text.contains(env!("CARGO_PKG_VERSION")), "{output:?}");
    }
}

#[test]
fn a_reader_that_stops_is_no_reason_to_panic() {
    let mut child = example("http_fetch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn http_serve_prints_a_line_that_works_as_it_stands() {
    for arguments in [&[][..], &["--port", "0"]] {
        serves(arguments);
    }
}

fn serves(arguments: &[&str]) {
    let mut serve = example("http_serve").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(serve.stdout.take().unwrap());
    let mut command = String::new();
    while !command.starts_with("    ") {
        command.clear();
        assert!(output.read_line(&mut command).unwrap() > 0, "it ends without a command");
    }
    assert!(!command.contains(":0/"), "{command}");
    let has_curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    let curl = |with: &str| Command::new("sh").args(["-c", &format!("{} {with}", command.trim())]).output();
    let (page, head, post) = match has_curl {
        true => (Some(curl("-sS")), Some(curl("-sSI")), Some(curl("-sSi -d x"))),
        false => (None, None, None),
    };
    assert!(Command::new("kill").args(["-INT", &serve.id().to_string()]).status().unwrap().success());
    assert!(serve.wait().unwrap().success(), "Ctrl-C is an orderly end");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    if let (Some(head), Some(post)) = (head, post) {
        let (head, post) = (head.unwrap().stdout, post.unwrap().stdout);
        let (head, post) = (String::from_utf8_lossy(&head), String::from_utf8_lossy(&post));
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: "), "{head}");
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
    }
    if let Some(page) = page {
        let page = page.unwrap();
        assert!(
            String::from_utf8_lossy(&page.stdout).contains("Both ends of the rope are ready"),
            "{page:?}"
        );
        assert!(rest.contains("is connected"), "{rest}");
    }
}

#[test]
fn echo_goes_there_and_back() {
    let (output, text) = run("echo", &[]);
    assert!(output.status.success() && text.contains("31 bytes went there and back"), "{output:?}");
}

#[test]
fn udp_echo_sends_trains_and_hears_of_a_closed_port() {
    let (output, text) = run("udp_echo", &[]);
    assert!(output.status.success() && text.contains("both ends of the rope are ready"), "{output:?}");
    assert!(text.contains("datagrams of 1200 bytes from 10.0.0.1:"), "{text}");
    assert!(text.ends_with("port 9 is closed\n"), "{text}");
}

#[test]
fn fast_open_saves_a_round_trip_once_there_is_a_cookie() {
    let (output, text) = run("fast_open", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = [
        "request 1: your request came after the handshake; the answer took 80 ms",
        "request 2: your request came with the SYN; the answer took 40 ms",
        "request 3: your request came with the SYN; the answer took 40 ms",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn congestion_control_draws_a_window_that_grows_and_falls() {
    let (output, text) = run("congestion_control", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let windows: Vec<u32> = text
        .lines()
        .filter_map(|line| line.split_once(" s ")?.1.split_whitespace().next()?.parse().ok())
        .collect();
    // A sawtooth about the 34 segments that the path holds and the 30 of its queue.
    let later = &windows[5..];
    assert!(windows[0] == 10 && windows.len() > 20, "{text}");
    assert!(later.iter().all(|window| (45..=70).contains(window)), "{text}");
    assert!(later.windows(2).any(|pair| pair[1] < pair[0]) && later.windows(2).any(|pair| pair[1] > pair[0]));
    assert!(text.contains("8388608 bytes in") && text.contains("congestion control: gentle"), "{text}");
}

#[test]
fn portscan_says_what_it_needs() {
    let fails = |arguments: &[&str], hint: &str| {
        let (output, _) = run("portscan", arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(hint), "{arguments:?}: {message}");
    };
    fails(&["10.9.0.1"], "docs/TUN.md");
    fails(&["10.9.0.1", "--ports", "80-22"], "22,80,8000-8100");
    fails(&["--ports", "1,2"], "HOST");
    fails(&["10.9.0.1", "--rate", "0"], "1..=100000");
    fails(&["10.9.0.1", "--timeout", "0"], "1..=86400");
    fails(&["10.9.0.1", "--retries", "99999"], "--retries");
    fails(&["10.9.0.1", "--tun", "norope0", "--address", "10.9.0.2/24"], "norope0");
}

#[test]
fn portscan_sees_what_the_ports_were_told_to_say() {
    let (output, text) = run("portscan", &[]);
    assert!(output.status.success(), "{output:?}");
    let (linux, ropeway) = text.split_once("ropeway, which was told").unwrap();
    if std::env::var_os("ROPEWAY_REQUIRE_TUN").is_some_and(|value| value == "1") {
        for line in [
            "1-79/tcp        closed",
            "80/tcp          open\n",
            "51-52/udp       closed",
            "53/udp          open or",
        ] {
            assert!(linux.contains(line), "{line} in\n{text}");
        }
    }
    let lines = [
        "1-25/tcp        closed",
        "26-28/tcp       filtered (prohibited)",
        "80/tcp          open\n",
        "90-99/tcp       filtered (no answer)",
        "1-25/udp        closed",
        "26-28/udp       filtered (prohibited)",
        "90-99/udp       open or filtered",
    ];
    for line in lines {
        assert!(ropeway.contains(line), "{line} in\n{text}");
    }
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn dctcp_keeps_the_link_busy_and_the_queue_at_its_threshold() {
    let (output, text) = run("dctcp", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let numbers =
        |line: &str| -> Vec<f64> { line.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let rows: Vec<_> = text.lines().map(numbers).collect();
    let [without, cubic, dctcp] = &rows[..] else { panic!("{text}") };
    // Mbit/s, milliseconds of a round trip, marks, segments sent again.
    assert!([without, cubic, dctcp].iter().all(|row| row[0] > 93.0), "{text}");
    assert!(without[1] > 10.0 && without[2] == 0.0 && without[3] > 0.0, "{text}");
    assert!([cubic, dctcp].iter().all(|row| row[1] < 4.0 && row[2] > 0.0 && row[3] == 0.0), "{text}");
}

#[test]
fn wireguard_carries_https_and_follows_a_client_that_moves() {
    let (output, text) = run("wireguard", &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(text.contains("an MTU of 1420: the maximum segment size is 1380"), "{text}");
    // Packets of 1420 bytes, and what a data message has besides.
    assert!(text.contains("the longest datagram between the hosts had 1452 bytes"), "{text}");
    let moved = text.lines().find_map(|line| line.split_once("on from UDP port ")?.1.split_once(" to "));
    let (first, second) = moved.unwrap();
    assert!(first != second && text.contains("20971520 bytes in"), "{text}");
    assert!(
        text.ends_with(&format!("the last datagram that it got came from 127.0.0.1:{second}\n")),
        "{text}"
    );
}

#[test]
fn wireguard_in_two_programs() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("certificate.der");
    let certificate = certificate.to_str().unwrap();
    let keys = || {
        let (_, text) = run("wireguard", &["key"]);
        let words: Vec<&str> = text.split_whitespace().collect();
        (words[1].to_owned(), words[3].to_owned())
    };
    let ((ours, our_public), (theirs, their_public)) = (keys(), keys());
    let serve = [
        "serve",
        "--key",
        &theirs,
        "--peer",
        &our_public,
        "--listen",
        "127.0.0.1:0",
        "--certificate",
        certificate,
    ];
    let mut server = example("wireguard").args(serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let endpoint = line.trim().rsplit(' ').next().unwrap();
    let fetch = |key: &str, with: &[&str]| {
        let common = ["fetch", "--key", key, "--peer", &their_public, "--endpoint", endpoint];
        run("wireguard", &[&common[..], &["--certificate", certificate, "--size", "5M"], with].concat())
    };
    let (output, text) = fetch(&ours, &["--roam"]);
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(output.status.success(), "{output:?}");
    let digest = text.lines().last().unwrap().strip_prefix("sha256 ").unwrap();
    assert!(line.contains(digest) && digest.len() == 64, "{line}");
    // The other end says where the client was, and where it is.
    let at = line.split("127.0.0.1:").skip(1);
    let ports: Vec<String> = at.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect()).collect();
    let moved =
        text.lines().find_map(|line| line.split_once("on from UDP port ")?.1.split_once(" to ")).unwrap();
    assert_eq!((ports[0].as_str(), ports[1].as_str()), moved, "{line}");
}

#[test]
fn socks5_takes_curl_through_ropeways_tcp() {
    let mut proxy =
        example("socks5").args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(proxy.stdout.take().unwrap());
    let mut command = String::new();
    while !command.starts_with("    ") {
        command.clear();
        assert!(output.read_line(&mut command).unwrap() > 0, "it ends without a command");
    }
    let has_curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    let curl = |line: &str| Command::new("sh").args(["-c", line]).output().unwrap();
    let command = command.trim();
    let there_is_none = command.replace(":8080/", ":8081/");
    let results = has_curl.then(|| {
        let large = format!("{command}bytes/3000000");
        (
            curl(&format!("{command} -sS")),
            curl(&format!("{large} -sS")),
            curl(&format!("{there_is_none} -sS")),
        )
    });
    assert!(Command::new("kill").args(["-INT", &proxy.id().to_string()]).status().unwrap().success());
    assert!(proxy.wait().unwrap().success(), "Ctrl-C is an orderly end");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let Some((page, large, refused)) = results else { return };
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("Both ends of the rope are ready"), "{page}");
    assert_eq!(large.stdout.len(), 3_000_000, "{large:?}");
    // curl's 97 is a proxy that said no; its number for a refusal is in the text (RFC 1928 6).
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(97) && told.contains("(5)"), "{refused:?}");
    assert!(rest.contains("bytes back") && rest.contains("Connection refused"), "{rest}");
}

/// In a namespace of the test's, with the device made by hand: datagrams, too.
#[cfg(target_os = "linux")]
#[test]
fn socks5_carries_datagrams_over_a_device() {
    const SCRIPT: &str = "ip link set lo up && exec \"$0\" \"$@\"";
    let can = Command::new("unshare").args(["--net", "ip", "link"]).stdout(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("ROPEWAY_REQUIRE_TUN").is_none_or(|value| value != "1"), "needs root");
        return;
    }
    let mut in_a_namespace = Command::new("unshare");
    in_a_namespace.args(["--net", "sh", "-c", SCRIPT]).arg(example("socks5").get_program());
    in_a_namespace.args(["--tun", "rope0", "--address", "10.9.0.2/24", "--via", "10.9.0.1"]);
    let mut proxy = in_a_namespace.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(proxy.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("127.0.0.1:1080"), "{line}");
    let pid = proxy.id().to_string();
    let ask = std::thread::spawn(move || {
        // This thread alone: the sockets of the others stay where they are.
        let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let echo = tokio::net::UdpSocket::bind("10.9.0.1:7").await.unwrap();
            let control = tokio::net::TcpStream::connect("127.0.0.1:1080").await.unwrap();
            let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let asked = fast_socks5::client::Socks5Datagram::bind(control, anywhere).await.unwrap();
            let mut buf = [0; 1500];
            for len in [1, 1400, 3000] {
                let data = vec![7; len];
                asked.send_to(&data, ("10.9.0.1", 7)).await.unwrap();
                let mut got = vec![0; 4000];
                let (came, from) = echo.recv_from(&mut got).await.unwrap();
                assert_eq!((came, from.ip().to_string()), (len, "10.9.0.2".to_owned()));
                echo.send_to(&got[..came.min(1000)], from).await.unwrap();
                let (back, from) = asked.recv_from(&mut buf).await.unwrap();
                assert_eq!((back, from.to_string()), (len.min(1000), "10.9.0.1:7".to_owned()));
            }
        });
    });
    let asked = ask.join();
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    asked.unwrap();
}
