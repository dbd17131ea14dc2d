//! Every packet script in `tests/scripts`, over IPv4 and IPv6, each a test of its own:
//! `cargo test -p ropeway-tests --test scripts syn_sent` runs those with that in their name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use ropeway_tests::script::{Ip, Mode, Outcome, Settings, parse, run, versions};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts = Vec::new();
    find(&root, &mut scripts);
    scripts.sort();
    assert!(scripts.len() >= 10, "the scripts are not where they are looked for: {}", root.display());
    let trials = scripts.iter().flat_map(|path| trials(&root, path)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
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

fn trials(root: &Path, path: &Path) -> Vec<Trial> {
    let name = path.strip_prefix(root).unwrap_or(path).with_extension("").display().to_string();
    let text = std::fs::read_to_string(path).unwrap();
    let script = match parse(&text) {
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
