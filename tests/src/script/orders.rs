//! Scripts that are too regular to be written down: every order in which five segments can arrive.

use std::fmt::Write as _;

/// Where the segments end. They are not equally long, and the last has the FIN.
const ENDS: [usize; 5] = [100, 250, 251, 1000, 1400];

/// A script for each of the 120 orders of five segments, and one in which each of them arrives twice. After
/// each segment the acknowledgement says how far the stream is without a gap.
#[must_use]
pub fn orders() -> Vec<(String, String)> {
    let mut all = Vec::new();
    permute(&mut vec![0, 1, 2, 3, 4], 0, &mut all);
    all.push(vec![4, 4, 2, 2, 0, 0, 3, 3, 1, 1]);
    all.iter().map(|order| (name(order), script(order))).collect()
}

fn permute(rest: &mut Vec<usize>, from: usize, all: &mut Vec<Vec<usize>>) {
    if from == rest.len() {
        all.push(rest.clone());
    }
    for at in from..rest.len() {
        rest.swap(from, at);
        permute(rest, from + 1, all);
        rest.swap(from, at);
    }
}

fn name(order: &[usize]) -> String {
    order.iter().map(|segment| (segment + 1).to_string()).collect()
}

fn script(order: &[usize]) -> String {
    let mut text = String::from(
        "   0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
  +0 bind(3, ..., ...) = 0
  +0 listen(3, 8) = 0
  +0 < S 0:0(0) win 32000 <mss 1000>
  +0 > S. 0:0(0) ack 1 <mss 1460>
  +0 < . 1:1(0) ack 1 win 32000
  +0 accept(3, ..., ...) = 4
",
    );
    let mut arrived = [false; ENDS.len()];
    for segment in order {
        let start = segment.checked_sub(1).map_or(0, |before| ENDS[before]);
        let end = ENDS[*segment];
        let last = *segment == ENDS.len() - 1;
        let flags = if last { "F." } else { "." };
        arrived[*segment] = true;
        let whole = arrived.iter().take_while(|arrived| **arrived).count();
        let edge = whole.checked_sub(1).map_or(0, |last| ENDS[last]);
        let ack = 1 + edge + usize::from(whole == ENDS.len());
        let len = end - start;
        let _ = writeln!(text, "  +0 < {flags} {}:{}({len}) ack 1 win 32000", start + 1, end + 1);
        let _ = writeln!(text, "  +0 > . 1:1(0) ack {ack}");
    }
    let _ = writeln!(text, "  +0 read(4, ..., 5000) = {}", ENDS[ENDS.len() - 1]);
    text + "  +0 read(4, ..., 5000) = 0\n"
}
