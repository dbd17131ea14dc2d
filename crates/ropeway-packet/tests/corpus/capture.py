#!/usr/bin/env python3
"""Writes the packets of this directory: what Linux sends into a TUN device, where nothing offloads checksums.

    unshare -n python3 capture.py        # as root; writes *.bin next to itself

Each file is one IP packet, byte for byte. Ports, sequence numbers and clocks differ from run to run.
Observed on Linux 6.18.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
V4_US, V4_PEER = "10.9.0.1", "10.9.0.2"
V6_US, V6_PEER = "fd00:9::1", "fd00:9::2"


def sh(command):
    subprocess.run(command.split(), check=True)


def open_tun():
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"cap0", 0x0001 | 0x1000))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
    sh(f"ip addr add {V4_US}/24 dev cap0")
    sh(f"ip -6 addr add {V6_US}/64 dev cap0 nodad")
    sh("ip link set cap0 mtu 1500 up")
    return tun


def packets(tun, wait=0.3):
    """All packets the kernel sends until it is quiet, except router solicitations and the like."""
    found = []
    while select.select([tun], [], [], wait)[0]:
        packet = os.read(tun, 65536)
        multicast = packet[0] >> 4 == 6 and packet[24] == 0xFF
        if not multicast:
            found.append(packet)
    return found


def save(name, packet):
    with open(os.path.join(HERE, name + ".bin"), "wb") as file:
        file.write(packet)
    print(f"{name:32} {len(packet):5} bytes")


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def wrap(family, proto, payload_of):
    """An IP packet from the peer; payload_of(checksum function) builds what it carries."""
    if family == socket.AF_INET:
        src, dst = socket.inet_aton(V4_PEER), socket.inet_aton(V4_US)
    else:
        src, dst = (socket.inet_pton(family, a) for a in (V6_PEER, V6_US))
    payload = payload_of(lambda body: checksum(src + dst + struct.pack("!II", len(body), proto) + body))
    if family == socket.AF_INET:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, proto, 0) + src + dst
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload
    return struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + src + dst + payload


def tcp(family, sport, dport, seq, ack, flags, options=b"", data=b""):
    def build(sum_of):
        offset = (5 + len(options) // 4) << 4
        head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset, flags, 65535, 0, 0) + options
        return head[:16] + struct.pack("!H", sum_of(head + data)) + head[18:] + data

    return wrap(family, 6, build)


def udp(family, sport, dport, data):
    def build(sum_of):
        head = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
        return head[:6] + struct.pack("!H", sum_of(head + data)) + data

    return wrap(family, 17, build)


SYN, ACK, PSH = 2, 16, 8
ALL_OPTIONS = bytes([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])


def stamps(tsecr):
    return bytes([1, 1, 8, 10]) + struct.pack("!II", 2, tsecr)


def family_run(tun, family, name, us, peer):
    # A client: its SYN, and with Fast Open the request for a cookie.
    for suffix, option in (("syn", None), ("syn_fast_open_request", 30)):
        client = socket.socket(family, socket.SOCK_STREAM)
        client.setblocking(False)
        if option:
            client.setsockopt(socket.IPPROTO_TCP, option, 1)  # TCP_FASTOPEN_CONNECT
        client.connect_ex((peer, 80))
        if option:
            try:
                client.send(b"hello")
            except BlockingIOError:
                pass
        save(f"{name}_{suffix}", packets(tun)[0])
        client.close()
        packets(tun)

    # A server: SYN-ACK, ACK with SACK blocks for data that came out of order, data, FIN.
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((us, 8080))
    server.listen()
    os.write(tun, tcp(family, 5000, 8080, 1000, 0, SYN, ALL_OPTIONS))
    syn_ack = packets(tun, 0.2)[0]
    save(f"{name}_syn_ack", syn_ack)
    at = 20 if family == socket.AF_INET else 40
    iss = struct.unpack("!I", syn_ack[at + 4 : at + 8])[0]
    tsval = struct.unpack("!I", syn_ack[at + 28 : at + 32])[0]
    os.write(tun, tcp(family, 5000, 8080, 1001, iss + 1, ACK, stamps(tsval)))
    time.sleep(0.1)
    for hole in (2001, 4001, 6001):
        os.write(tun, tcp(family, 5000, 8080, hole, iss + 1, ACK, stamps(tsval), b"x" * 100))
    save(f"{name}_ack_with_sack", packets(tun)[-1])
    accepted, _ = server.accept()
    accepted.send(b"odd")
    save(f"{name}_data", packets(tun, 0.05)[0])
    accepted.shutdown(socket.SHUT_WR)
    save(f"{name}_fin", packets(tun, 0.05)[0])
    accepted.close()
    server.close()

    # A closed port: RST for TCP, port unreachable for UDP.
    os.write(tun, tcp(family, 5001, 81, 1, 0, SYN, ALL_OPTIONS))
    save(f"{name}_rst", [p for p in packets(tun) if p[at + 13] & 4][0])
    os.write(tun, udp(family, 5002, 82, b"anyone?"))
    unreachable = 3 if family == socket.AF_INET else 1
    save(f"{name}_port_unreachable", [p for p in packets(tun) if p[at] == unreachable and p[9 if at == 20 else 6] in (1, 58)][0])

    # Echo both ways, UDP, and UDP in fragments.
    subprocess.Popen(["ping", "-c1", "-W1", peer], stdout=subprocess.DEVNULL)
    request = packets(tun)[0]
    save(f"{name}_echo_request", request)
    if family == socket.AF_INET:
        swapped = request[:12] + request[16:20] + request[12:16] + request[20:]
    else:
        swapped = request[:8] + request[24:40] + request[8:24] + request[40:]
    os.write(tun, swapped)
    save(f"{name}_echo_reply", [p for p in packets(tun) if p[at] in (0, 129)][0])
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.sendto(b"four", (peer, 53))
    save(f"{name}_udp", packets(tun)[0])
    sender.setsockopt(socket.SOL_IP, 10, 0) if family == socket.AF_INET else None  # IP_MTU_DISCOVER: DONT
    sender.sendto(b"y" * 1600, (peer, 53))
    first, last = packets(tun)[:2]
    save(f"{name}_fragment_first", first)
    save(f"{name}_fragment_last", last)


def main():
    tun = open_tun()
    packets(tun)
    with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as file:
        file.write("1")
    family_run(tun, socket.AF_INET, "v4", V4_US, V4_PEER)
    family_run(tun, socket.AF_INET6, "v6", V6_US, V6_PEER)


if __name__ == "__main__":
    sys.exit(main())
