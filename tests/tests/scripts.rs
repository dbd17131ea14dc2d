//! Every packet script in `tests/scripts`, over IPv4 and IPv6, each a test of its own:
//! `cargo test -p ropeway-tests --test scripts syn-sent` runs those with that in their name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use ropeway_tests::script::{Ip, Mode, Outcome, Settings, orders, parse, run, versions};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts = Vec::new();
    find(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() >= 10, "the scripts are not where they are looked for: {}", root.display());
    let mut all: Vec<_> = scripts.iter().flat_map(|path| written(&root, path)).collect();
    let generated = orders();
    assert_eq!(generated.len(), 121);
    for (order, text) in &generated {
        let name = format!("reassembly/order-{order}");
        all.extend(trials(&name, Path::new(&format!("{name}.pkt")), text));
    }
    libtest_mimic::run(&arguments, all).exit_code()
}

fn find(folder: &Path, scripts: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, scripts);
        } else if path.extension().is_some_and(|extension| extension == "pkt") {
            scripts.push(path);
        }
    }
}

fn written(root: &Path, path: &Path) -> Vec<Trial> {
    let name = path.strip_prefix(root).unwrap_or(path).with_extension("").display().to_string();
    trials(&name, path, &std::fs::read_to_string(path).unwrap())
}

/// A test for each version of IP that the script runs over.
fn trials(name: &str, path: &Path, text: &str) -> Vec<Trial> {
    let script = match parse(text) {
        Ok(script) => script,
        Err(error) => {
            let message = format!("{}: {error}", path.display());
            return vec![Trial::test(name, move || Err(Failed::from(message)))];
        }
    };
    versions(&script)
        .into_iter()
        .map(|ip| {
            let (script, path) = (script.clone(), path.to_owned());
            let version = if ip == Ip::V4 { "ipv4" } else { "ipv6" };
            Trial::test(format!("{name}::{version}"), move || {
                let shown = path.display().to_string();
                let settings = Settings::new(&script, &path, Mode::Strict, ip)
                    .map_err(|error| Failed::from(format!("{shown}: {error}")))?;
                let report = run(&script, &settings);
                match &report.outcome {
                    Outcome::Pass => Ok(()),
                    Outcome::Fail(_) => Err(report.message(&shown).into()),
                    // Our own scripts ask for nothing that is not there.
                    Outcome::Unsupported { .. } => Err(format!("{shown}: {report}").into()),
                }
            })
        })
        .collect()
}
