//! Pictures of what the senders of a cell were about.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ropeway_plot::{Picture, Plotter};
use ropeway_sim::pipe::Micros;
use tracing_subscriber::layer::SubscriberExt;

use super::cell::Cell;

/// So many connections of a cell are drawn: the first ones.
const MOST: usize = 12;

/// Draws the connections of each cell, as the ends see them that send more, into files named after the cell.
pub(super) fn draw(
    cells: &[Cell],
    seed: u64,
    tick: Micros,
    span: Option<&Range<Duration>>,
    directory: &Path,
) -> io::Result<()> {
    let told = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot make {}: {error}", directory.display()))
    };
    fs::create_dir_all(directory).map_err(told)?;
    for cell in cells {
        // Both ends of each are heard.
        let all = Plotter::with_limit(2 * MOST);
        let plotter = span.map_or_else(|| all.clone(), |span| all.clone().within(span));
        let subscriber = tracing_subscriber::registry().with(plotter.layer());
        tracing::subscriber::with_default(subscriber, || cell.run(seed, tick).run());
        let pictures = plotter.pictures();
        let senders: Vec<&Picture> =
            pictures.iter().filter(|picture| picture.bytes_sent() > picture.bytes_received()).collect();
        for (number, picture) in senders.iter().enumerate() {
            let several = if senders.len() > 1 { format!("-{}", number + 1) } else { String::new() };
            let path = directory.join(format!("{}{several}.svg", slug(&cell.name)));
            picture.write(&cell.name, &path)?;
            println!("{}", path.display());
        }
        if plotter.left_out() > 0 {
            println!("    only the first {} connections of {:?}", senders.len(), cell.name);
        }
    }
    Ok(())
}

/// A name for files: letters, digits and hyphens.
fn slug(name: &str) -> String {
    let plain = name.replace('%', "percent");
    let words = plain.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::cells;
    use super::slug;

    #[test]
    fn each_cell_has_files_of_its_own() {
        let cells = cells::all();
        let names: BTreeSet<String> = cells.iter().map(|cell| slug(&cell.name)).collect();
        assert_eq!(names.len(), cells.len());
        assert!(
            names.iter().all(|name| name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter)))
        );
        assert_eq!(slug("10 MB: 20 Mbit/s, 80 ms, 0.1 % lost"), "10-MB-20-Mbit-s-80-ms-0.1-percent-lost");
    }
}
