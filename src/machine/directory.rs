//! Users and their lines: an immutable snapshot with the sign-in's lookup and the reverse ones for number mapping.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashTable;

pub use super::appearance::{Appearance, AppearanceRef, EntryFault, FIELD_BYTES_MAX, Fault, address_of_record};
use super::refusal::Refusal;
use super::tel::Tel;

/// Users a directory may hold.
pub const USERS_MAX: usize = 200_000;
/// Two entries of different users that name one station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedStation {
    pub first_row: usize,
    pub row: usize,
}

/// All texts lie in one block, entries and tables hold offsets: some 110 bytes a user instead of 400.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    texts: Box<str>,
    entries: Box<[Entry]>,
    by_user: HashTable<u32>,
    by_number: HashTable<u32>,
    by_device: HashTable<u32>,
}

/// Where an entry's texts lie: sip, line, device and partition follow one another from `start`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    sip_bytes: u16,
    line_bytes: u16,
    device_bytes: u16,
    partition_bytes: u16,
    licensed: bool,
}

impl Directory {
    /// Takes all entries, in order, or tells every fault at once.
    pub fn new(appearances: impl IntoIterator<Item = Appearance>) -> Result<Self, Vec<EntryFault>> {
        let mut texts = String::new();
        let mut entries = Vec::new();
        let mut faults = Vec::new();
        for (row, appearance) in appearances.into_iter().enumerate() {
            if row >= USERS_MAX {
                faults.push(EntryFault { row, fault: Fault::TooMany });
                break;
            }
            faults.extend(appearance.faults().map(|fault| EntryFault { row, fault }));
            if faults.is_empty() {
                entries.push(store(&mut texts, appearance.borrowed()));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let rows = entries.len();
        let mut directory = Self {
            texts: texts.into_boxed_str(),
            entries: entries.into_boxed_slice(),
            by_user: HashTable::with_capacity(rows),
            by_number: HashTable::with_capacity(rows),
            by_device: HashTable::with_capacity(rows),
        };
        for row in 0..u32::try_from(rows).expect("at most USERS_MAX") {
            directory.index(row);
        }
        faults.extend(directory.duplicates());
        if faults.is_empty() { Ok(directory) } else { Err(faults) }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = AppearanceRef<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// Bytes on the heap: texts, entries and tables.
    pub fn heap_bytes(&self) -> usize {
        let tables = [&self.by_user, &self.by_number, &self.by_device];
        let entries = self.entries.len() * size_of::<Entry>();
        self.texts.len() + entries + tables.iter().map(|table| table.allocation_size()).sum::<usize>()
    }

    /// What a sign-in controls. `sip_user` is a SIP URI or address of record, compared without case (a user who differs
    /// only in case is taken when no other fits better); the line is compared as text first, then by number, extension
    /// and context, `device=` and `partition=` choosing the appearance. Without a line it is the user's only entry.
    pub fn appearance(&self, sip_user: &str, line: Option<&str>) -> Result<Appearance, Refusal> {
        let mine: Vec<_> = self.appearances_of(sip_user).collect();
        if mine.is_empty() {
            return Err(Refusal::UserUnknown);
        }
        let Some(line) = line.map(str::trim).filter(|line| !line.is_empty()) else {
            return sole(mine);
        };
        let verbatim: Vec<_> = mine.iter().copied().filter(|entry| entry.line == line).collect();
        if !verbatim.is_empty() {
            return sole(verbatim);
        }
        let asked = Tel::parse(line).map_err(|_| Refusal::LineUnknown)?;
        let fitting: Vec<_> =
            mine.into_iter().filter(|entry| is_line(entry, &asked) && is_chosen(entry, &asked)).collect();
        if !fitting.is_empty() {
            return sole(fitting);
        }
        let exists = self.by_number(&asked.number).any(|entry| is_line(&entry, &asked));
        Err(if exists { Refusal::LineNotAllowed } else { Refusal::LineUnknown })
    }

    /// A user's entries, in order.
    pub fn appearances_of(&self, sip_user: &str) -> impl Iterator<Item = AppearanceRef<'_>> {
        let asked = address_of_record(sip_user);
        let rows = asked.map_or_else(Vec::new, |asked| {
            let rows = self.rows(&self.by_user, hash_of_folded(asked.0, asked.1), |entry| {
                address_of_record(entry.sip).is_some_and(|(user, host)| {
                    user.eq_ignore_ascii_case(asked.0) && host.eq_ignore_ascii_case(asked.1)
                })
            });
            let is_exact = |row: &u32| {
                address_of_record(self.view(&self.entries[*row as usize]).sip).is_some_and(|(user, _)| user == asked.0)
            };
            match rows.iter().copied().filter(is_exact).collect::<Vec<_>>() {
                exact if exact.is_empty() => rows,
                exact => exact,
            }
        });
        rows.into_iter().map(|row| self.view(&self.entries[row as usize]))
    }

    /// The Line URI of a device, compared without case; of its first entry when it has several lines.
    pub fn line_of_device(&self, device: &str) -> Option<&str> {
        let row = self.rows_of_device(device).into_iter().next()?;
        Some(self.view(&self.entries[row as usize]).line)
    }

    /// The only device a number stands for (`+14255550102` → `5102`); a device's own name stands for itself.
    pub fn device_of_number(&self, number: &str) -> Option<&str> {
        match self.rows_of_device(number.trim()).first() {
            Some(&row) => Some(self.view(&self.entries[row as usize]).device),
            None => self.device_of(&Tel::parse(number).ok()?),
        }
    }

    /// As [`Self::device_of_number`]. Without an extension, a line without one is preferred; `None` when several devices
    /// remain, because then the PBX must choose.
    pub fn device_of(&self, tel: &Tel) -> Option<&str> {
        if tel.ext.is_none()
            && let Some(&row) = self.rows_of_device(&tel.number).first()
        {
            return Some(self.view(&self.entries[row as usize]).device);
        }
        let ext_of = |entry: &AppearanceRef<'_>| Tel::parse(entry.line).ok().and_then(|line| line.ext);
        let all: Vec<_> = self.by_number(&tel.number).filter(|entry| is_chosen(entry, tel)).collect();
        let mut same_ext: Vec<_> = all.iter().copied().filter(|entry| ext_of(entry) == tel.ext).collect();
        if same_ext.is_empty() && tel.ext.is_none() {
            same_ext = all;
        }
        let first = same_ext.first()?.device;
        same_ext.iter().all(|entry| entry.device.eq_ignore_ascii_case(first)).then_some(first)
    }

    /// Stations that entries of different users name; one pair for each entry after the first.
    pub fn shared_stations(&self) -> Vec<SharedStation> {
        let mut first_rows = BTreeMap::new();
        let mut shared = Vec::new();
        for (row, entry) in self.iter().enumerate() {
            let first_row = *first_rows.entry((entry.device.to_ascii_lowercase(), entry.partition)).or_insert(row);
            if !is_same_user(self.view(&self.entries[first_row]).sip, entry.sip) {
                shared.push(SharedStation { first_row, row });
            }
        }
        shared
    }

    fn duplicates(&self) -> Vec<EntryFault> {
        let mut first_rows = BTreeMap::new();
        let mut faults = Vec::new();
        for (row, entry) in self.iter().enumerate() {
            let (user, host) = address_of_record(entry.sip).unwrap_or_default();
            let device = entry.device.to_ascii_lowercase();
            let key = (user, host.to_ascii_lowercase(), entry.line, device, entry.partition);
            let first_row = *first_rows.entry(key).or_insert(row);
            if first_row < row {
                faults.push(EntryFault { row, fault: Fault::Duplicate { first_row } });
            }
        }
        faults
    }

    fn view(&self, entry: &Entry) -> AppearanceRef<'_> {
        let (sip, rest) = self.texts[entry.start as usize..].split_at(entry.sip_bytes.into());
        let (line, rest) = rest.split_at(entry.line_bytes.into());
        let (device, rest) = rest.split_at(entry.device_bytes.into());
        let partition = &rest[..entry.partition_bytes.into()];
        let partition = (!partition.is_empty()).then_some(partition);
        AppearanceRef { sip, line, device, partition, licensed: entry.licensed }
    }

    fn index(&mut self, row: u32) {
        let entry = self.view(&self.entries[row as usize]);
        let (user, host) = address_of_record(entry.sip).unwrap_or_default();
        let number = Tel::parse(entry.line).map(|line| line.number).unwrap_or_default();
        let hashes = [hash_of_folded(user, host), hash_of(&number), device_hash(entry.device)];
        for (table, hash) in [&mut self.by_user, &mut self.by_number, &mut self.by_device].into_iter().zip(hashes) {
            table.insert_unique(hash, row, |_| unreachable!("the tables were made for all rows and never grow"));
        }
    }

    /// Rows under a hash that fit, in order.
    fn rows(&self, table: &HashTable<u32>, hash: u64, fits: impl Fn(&AppearanceRef<'_>) -> bool) -> Vec<u32> {
        let fits = |row: &u32| fits(&self.view(&self.entries[*row as usize]));
        let mut rows: Vec<u32> = table.iter_hash(hash).copied().filter(fits).collect();
        rows.sort_unstable();
        rows
    }

    fn rows_of_device(&self, device: &str) -> Vec<u32> {
        self.rows(&self.by_device, device_hash(device), |entry| entry.device.eq_ignore_ascii_case(device))
    }

    fn by_number(&self, number: &str) -> impl Iterator<Item = AppearanceRef<'_>> {
        let rows = self.rows(&self.by_number, hash_of(number), |entry| {
            Tel::parse(entry.line).is_ok_and(|line| line.number == number)
        });
        rows.into_iter().map(|row| self.view(&self.entries[row as usize]))
    }
}

fn store(texts: &mut String, entry: AppearanceRef<'_>) -> Entry {
    let start = u32::try_from(texts.len()).expect("USERS_MAX entries of FIELD_BYTES_MAX fields stay under 4 GiB");
    let bytes = |text: &str| u16::try_from(text.len()).expect("no field is longer than FIELD_BYTES_MAX");
    let partition = entry.partition.unwrap_or_default();
    for text in [entry.sip, entry.line, entry.device, partition] {
        texts.push_str(text);
    }
    Entry {
        start,
        sip_bytes: bytes(entry.sip),
        line_bytes: bytes(entry.line),
        device_bytes: bytes(entry.device),
        partition_bytes: bytes(partition),
        licensed: entry.licensed,
    }
}

/// The one appearance among those that fit.
fn sole(fitting: Vec<AppearanceRef<'_>>) -> Result<Appearance, Refusal> {
    let (first, others) = fitting.split_first().ok_or(Refusal::LineUnknown)?;
    let is_same = |other: &AppearanceRef<'_>| {
        let lines = Tel::parse(first.line).ok().zip(Tel::parse(other.line).ok());
        first.device.eq_ignore_ascii_case(other.device)
            && first.partition == other.partition
            && lines.is_some_and(|(one, two)| one.is_same_line(&two))
    };
    match others.iter().all(is_same) {
        false => Err(Refusal::UserAmbiguous),
        true if first.licensed => Ok((*first).into()),
        true => Err(Refusal::NoClientLicense),
    }
}

fn is_line(entry: &AppearanceRef<'_>, asked: &Tel) -> bool {
    Tel::parse(entry.line).is_ok_and(|line| line.is_same_line(asked))
}

/// Whether `device=` and `partition=`, where given, choose this entry: by its columns, or by its own line's parameters.
fn is_chosen(entry: &AppearanceRef<'_>, asked: &Tel) -> bool {
    let line = Tel::parse(entry.line).ok();
    let fits = |asked: Option<&str>, column: Option<&str>, param: Option<&str>| match asked {
        None => true,
        Some(asked) => [column, param].into_iter().flatten().any(|known| known.eq_ignore_ascii_case(asked)),
    };
    let own = |param: fn(&Tel) -> Option<&str>| line.as_ref().and_then(param);
    fits(asked.device.as_deref(), Some(entry.device), own(|line| line.device.as_deref()))
        && fits(asked.partition.as_deref(), entry.partition, own(|line| line.partition.as_deref()))
}

fn is_same_user(one: &str, other: &str) -> bool {
    address_of_record(one).zip(address_of_record(other)).is_some_and(|((user, host), (other_user, other_host))| {
        user == other_user && host.eq_ignore_ascii_case(other_host)
    })
}

/// Hashes are the same in every process: the core has no randomness, and only the administrator chooses the keys.
fn hash_of(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn hash_of_folded(user: &str, host: &str) -> u64 {
    hash_of((user.to_ascii_lowercase(), host.to_ascii_lowercase()))
}

fn device_hash(device: &str) -> u64 {
    hash_of(device.to_ascii_lowercase())
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
