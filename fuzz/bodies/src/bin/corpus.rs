//! Packs a fuzzer's corpus into one file for the repository, and unpacks it for a fuzzer.
//!
//! ```sh
//! cargo run -p ropeway-fuzz-bodies --bin corpus -- pack fuzz/corpus/pair fuzz/bodies/corpus/pair.pack
//! cargo run -p ropeway-fuzz-bodies --bin corpus -- unpack fuzz/bodies/corpus/pair.pack fuzz/corpus/pair
//! ```

use std::path::Path;
use std::{env, fs, io, process};

use ropeway_fuzz_bodies::pack;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pack", directory, file] => {
            let mut inputs = Vec::new();
            for entry in fs::read_dir(directory)? {
                inputs.push(fs::read(entry?.path())?);
            }
            // By length, then by content: the same corpus gives the same file.
            inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
            println!("{} inputs", inputs.len());
            fs::write(file, pack::pack(&inputs))
        }
        ["unpack", file, directory] => {
            fs::create_dir_all(directory)?;
            let inputs = pack::unpack(&fs::read(file)?);
            println!("{} inputs", inputs.len());
            for (number, input) in inputs.iter().enumerate() {
                fs::write(Path::new(directory).join(format!("{number:05}")), input)?;
            }
            Ok(())
        }
        _ => {
            eprintln!("usage: corpus pack DIRECTORY FILE | corpus unpack FILE DIRECTORY");
            process::exit(2);
        }
    }
}
