//! The packets that `capture.py` took from Linux.

use std::fs;
use std::path::Path;

/// One IP packet.
pub(crate) struct Captured {
    /// The file's name without its extension, such as `v4_syn`.
    pub(crate) name: String,
    /// The packet.
    pub(crate) bytes: Vec<u8>,
}

/// All of them, sorted by name.
pub(crate) fn packets() -> Vec<Captured> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut packets: Vec<Captured> = fs::read_dir(directory)
        .expect("the corpus")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| Captured {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            bytes: fs::read(&path).expect("a packet"),
        })
        .collect();
    packets.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!packets.is_empty(), "the corpus is empty");
    packets
}
