//! The gateway with a namespace as its guest, and the programs that people use in it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // what is not there fails the test

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// The gateway, and how to run something as its guest.
struct Gateway {
    program: Child,
    enter: Vec<String>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _over = self.program.kill();
        let _over = self.program.wait();
    }
}

impl Gateway {
    /// `None` without the rights for it, or without the programs.
    fn start(arguments: &[&str]) -> Option<Self> {
        let required = std::env::var_os("ROPEWAY_REQUIRE_TUN").is_some_and(|value| value == "1");
        let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
        let possible = nix::unistd::Uid::effective().is_root()
            && std::fs::File::open("/dev/net/tun").is_ok()
            && ["curl", "dig", "ping", "iperf3", "nsenter", "ip"].into_iter().all(has);
        if !possible {
            assert!(!required, "the gateway's test needs root, /dev/net/tun, and its programs");
            eprintln!("skipped: needs root, /dev/net/tun, curl, dig, ping and iperf3");
            return None;
        }
        let tests = std::env::current_exe().unwrap();
        let path: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join("gateway");
        let mut program = Command::new(path).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.contains("nsenter"));
        let line = line.expect("the gateway has ended");
        let words = line.split_whitespace().take_while(|word| *word != "curl").map(String::from);
        Some(Self { program, enter: words.collect() })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).arg(program).args(arguments);
        command
    }

    /// Runs a program as the guest.
    fn run(&self, program: &str, arguments: &[&str]) -> (Output, String) {
        let output = self.command(program, arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output, text)
    }
}

/// A port of the host's that is free.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn web_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 1000]);
            let _gone = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\non belay\n");
        }
    });
    address
}

/// Answers every question with 192.0.2.7.
fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buf = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            let labels = buf[12..len].iter().position(|byte| *byte == 0).unwrap();
            let mut answer = buf[..12 + labels + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

#[test]
fn a_guest_uses_curl_dig_ping_and_iperf3() {
    let (web, dns) = (web_server(), resolver());
    let (bandwidth, forwarded) = (free_port(), free_port());
    let forward = format!("{forwarded}:5202");
    let arguments = ["--map", "10.0.2.2=127.0.0.1", "--resolver", &dns.to_string(), "--tcp", &forward];
    let Some(gateway) = Gateway::start(&arguments) else { return };

    let url = |host: &str| format!("http://{host}:{}/", web.port());
    let (output, page) = gateway.run("curl", &["-sS", "--max-time", "10", &url("10.0.2.2")]);
    assert_eq!(page, "on belay\n", "{output:?}");

    // Neither what is not mapped, nor the host's own addresses by other names.
    for host in ["10.0.2.4", "169.254.169.254", "[64:ff9b::7f00:1]"] {
        let (output, _) = gateway.run("curl", &["-sS", "--max-time", "10", &url(host)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{host}: {said}"); // could not connect
    }
    let closed = free_port().to_string();
    let (output, _) =
        gateway.run("curl", &["-sS", "--max-time", "10", &format!("http://10.0.2.2:{closed}/")]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");

    for server in ["@10.0.2.3", "@fd00:2::3"] {
        let (output, address) = gateway.run("dig", &[server, "+short", "+tries=2", "example.com", "A"]);
        assert_eq!(address, "192.0.2.7\n", "{output:?}");
    }

    for gateways in ["10.0.2.2", "fd00:2::2"] {
        let (output, text) = gateway.run("ping", &["-c", "2", "-i", "0.2", "-W", "5", gateways]);
        assert!(output.status.success() && text.contains("2 received"), "{text}");
    }

    let port = bandwidth.to_string();
    let mut server = Command::new("iperf3");
    let server = server.args(["-s", "-1", "-B", "127.0.0.1", "-p", &port]);
    let mut server = server.stdout(Stdio::null()).spawn().unwrap();
    wait_for(bandwidth);
    let client = ["-c", "10.0.2.2", "-p", &port, "-t", "1", "-P", "2"];
    let (output, text) = gateway.run("iperf3", &client);
    assert!(output.status.success() && text.contains("SUM"), "{text}");
    server.wait().unwrap();

    // The other way: a server of the guest's.
    let mut server = gateway.command("iperf3", &["-s", "-1", "-p", "5202"]);
    let mut server = server.stdout(Stdio::null()).spawn().unwrap();
    let client = ["-c", "127.0.0.1", "-p", &forwarded.to_string(), "-t", "1", "-R"];
    let mut tries = 0;
    loop {
        let output = Command::new("iperf3").args(client).output().unwrap();
        if output.status.success() {
            break;
        }
        tries += 1;
        assert!(tries < 50, "{output:?}");
        thread::sleep(Duration::from_millis(100));
    }
    server.wait().unwrap();
}

/// Waits until the port is taken, without taking a place of the server's.
fn wait_for(port: u16) {
    for _ in 0..100 {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
}
