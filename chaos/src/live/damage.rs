//! Harm done to the files of a stopped node's store.

use std::fs;
use std::path::Path;

use super::LiveError;
use crate::fault::Kind;
use crate::seed::Chance;

/// The largest file of the store is where the records are: half of it goes, or one bit of what is written in it turns.
pub fn damage(store: &Path, kind: Kind, chance: &mut Chance) -> Result<String, LiveError> {
    let mut files = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata()? {
                data if data.is_dir() => folders.push(entry.path()),
                data => files.push((data.len(), entry.path())),
            }
        }
    }
    let (bytes, file) = files.into_iter().max().ok_or(LiveError::Unavailable("damaging a store without files"))?;
    let mut content = fs::read(&file)?;
    let says = match kind {
        Kind::Truncate => {
            content.truncate(content.len() / 2);
            format!("{} was cut from {bytes} to {} bytes", file.display(), content.len())
        }
        _ => {
            // What was never written is zeroes.
            let written: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
            let at = chance.pick(&written).copied().ok_or(LiveError::Unavailable("damaging an empty store"))?;
            content[at] ^= 1 << chance.between(0, 7);
            format!("a bit of byte {at} of {} was flipped", file.display())
        }
    };
    fs::write(&file, content)?;
    Ok(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_turns_or_half_is_gone() {
        let folder = std::env::temp_dir().join(format!("chaos-damage-{}", std::process::id()));
        fs::create_dir_all(folder.join("below")).expect("a folder");
        let file = folder.join("below").join("records");
        let before: Vec<u8> = (0..1_000_u32).map(|n| (n % 7) as u8).collect();
        fs::write(&file, &before).expect("written");
        damage(&folder, Kind::FlipByte, &mut Chance::new(5)).expect("damaged");
        let after = fs::read(&file).expect("read");
        let turned: u32 = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((turned, after.len()), (1, 1_000));
        damage(&folder, Kind::Truncate, &mut Chance::new(5)).expect("damaged");
        assert_eq!(fs::read(&file).expect("read").len(), 500);
        fs::remove_dir_all(&folder).expect("ours");
    }
}
