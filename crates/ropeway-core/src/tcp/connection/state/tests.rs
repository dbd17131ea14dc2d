use std::fmt::Write as _;

use super::*;

/// The whole state x cause matrix, held against a table that a person has read.
#[test]
fn the_transition_matrix_is_the_one_checked_in() {
    let mut matrix = String::new();
    for from in State::ALL {
        for cause in Cause::ALL {
            if let Ok(to) = next(from, cause) {
                writeln!(matrix, "{from:<12} --{cause:?}--> {to}").unwrap();
            }
        }
    }
    if std::env::var_os("ROPEWAY_BLESS").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/tcp/connection/state/transitions.txt"),
            &matrix,
        )
        .unwrap();
    }
    let checked_in = include_str!("transitions.txt");
    assert!(
        matrix == checked_in,
        "the table has changed; if it is meant to, run once with ROPEWAY_BLESS=1:\n{matrix}"
    );
}

/// The diagram in docs/ is drawn from the table.
#[test]
fn the_drawing_in_docs_is_the_table() {
    let mut dot = String::from(
        "// Drawn from the transition table of ropeway-core (RFC 9293 3.3.2).\ndigraph tcp {\n    node [shape=box];\n",
    );
    for from in State::ALL {
        for cause in Cause::ALL {
            if let Ok(to) = next(from, cause) {
                writeln!(dot, "    \"{from}\" -> \"{to}\" [label=\"{cause:?}\"];").unwrap();
            }
        }
    }
    dot.push_str("}\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/state-machine.dot");
    if std::env::var_os("ROPEWAY_BLESS").is_some() {
        std::fs::write(path, &dot).unwrap();
    }
    let drawn = std::fs::read_to_string(path).unwrap_or_default();
    assert!(drawn == dot, "docs/state-machine.dot is not the table; run the tests once with ROPEWAY_BLESS=1");
}

#[test]
fn an_illegal_edge_is_an_error_and_changes_nothing() {
    let tuple = FourTuple::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let mut machine = StateMachine::new(State::Established);
    let error = machine.transition(&tuple, Cause::AckOfSyn).unwrap_err();
    assert_eq!(error, IllegalTransition { from: State::Established, cause: Cause::AckOfSyn });
    assert_eq!(machine.get(), State::Established);
}

#[test]
fn an_illegal_edge_says_which_one_it_is() {
    let error = next(State::SynSent, Cause::AckOfFin).unwrap_err();
    assert_eq!(error.to_string(), "no transition from SYN-SENT by AckOfFin");
}

/// The states of RFC 9293 3.3.2, in its order: synchronized, the peer has closed, we have closed.
#[test]
fn every_state_says_who_has_closed() {
    let said: String = State::ALL
        .into_iter()
        .map(|state| {
            let marks = [
                (state.is_synchronized(), " synchronized"),
                (state.peer_has_closed(), " peer-closed"),
                (state.we_have_closed(), " we-closed"),
            ];
            let marks: String = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
            format!("{state}:{marks}\n")
        })
        .collect();
    let expected = "\
CLOSED:
LISTEN:
SYN-SENT:
SYN-RECEIVED:
ESTABLISHED: synchronized
FIN-WAIT-1: synchronized we-closed
FIN-WAIT-2: synchronized we-closed
CLOSE-WAIT: synchronized peer-closed
CLOSING: synchronized peer-closed we-closed
LAST-ACK: synchronized peer-closed we-closed
TIME-WAIT: synchronized peer-closed we-closed
";
    assert_eq!(said, expected);
}
