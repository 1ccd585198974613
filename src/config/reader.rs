//! Reads tables key by key and goes on after each fault, so that one run tells them all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

type Value<'t> = Spanned<DeValue<'t>>;

/// Tables inside arrays and keys inside tables, together; a file beyond it is not read further.
const KEYS_MAX: usize = 2_000_000;

/// One key as documentation shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `sip.limits.head_bytes_max`, `cti[].name`.
    pub path: String,
    pub doc: &'static [&'static str],
    /// As TOML; `None` when the key must be given or is unset by default.
    pub default: Option<String>,
    pub is_required: bool,
    /// A table whose keys follow.
    pub is_table: bool,
    pub allowed: String,
}

/// A value of the file: how it is read, described and shown.
pub(super) trait Setting: Sized {
    /// What may stand there: `a whole number`.
    fn allowed() -> String;

    /// `None`: the problem is told already.
    fn read(input: &Input<'_>, value: &Value<'_>, key: &str, allowed: &str) -> Option<Self>;

    /// As TOML; `None` when unset.
    fn show(&self) -> Option<String>;

    /// What a table is for.
    fn about() -> &'static [&'static str] {
        &[]
    }

    /// The keys below this one; a leaf has none.
    fn keys(_prefix: &str) -> Vec<Key> {
        Vec::new()
    }
}

/// Where keys stand in the file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of a key, or of the nearest table around it.
    pub fn of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(&line) = self.0.get(key) {
                return Some(line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// Whether the file names the key itself.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({} keys)", self.0.len())
    }
}

/// The text being read and what was found so far.
pub(super) struct Input<'i> {
    text: &'i str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    lines: RefCell<Lines>,
    /// Every key there is, for "did you mean".
    known: Vec<String>,
}

impl<'i> Input<'i> {
    pub fn new(text: &'i str, known: Vec<String>) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        Self { text, line_starts, problems: RefCell::default(), lines: RefCell::default(), known }
    }

    pub fn finish(self) -> (Vec<Problem>, Lines) {
        (self.problems.into_inner(), self.lines.into_inner())
    }

    pub fn tell(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// From 1.
    pub fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start)
    }

    pub fn column(&self, span: &Range<usize>) -> usize {
        let start = self.line_starts[self.line(span) - 1];
        self.text.get(start..span.start).map_or(1, |before| before.chars().count() + 1)
    }

    /// Tells that a value is not what its key allows.
    pub fn wrong(&self, rule: &'static str, value: &Value<'_>, key: &str, allowed: &str) {
        let problem = Problem::fault(rule, key)
            .at(Some(self.line(&value.span())))
            .value(self.text.get(value.span()).unwrap_or_default().lines().next().unwrap_or_default())
            .allowed(format!("allowed is {allowed}"));
        self.tell(problem.remedy("write such a value"));
    }

    fn note(&self, key: &str, span: &Range<usize>) -> bool {
        let line = self.line(span);
        let mut lines = self.lines.borrow_mut();
        lines.0.insert(key.to_owned(), line);
        lines.0.len() <= KEYS_MAX
    }

    /// Remembers where an element of a list stands.
    pub fn note_element(&self, key: &str, span: &Range<usize>) {
        self.note(key, span);
    }

    fn unknown(&self, key: &str, span: &Range<usize>, value: &Value<'_>, siblings: &[&'static str]) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let is_secret = ["password", "secret", "token", "passwd"].iter().any(|word| name.contains(word));
        let problem = Problem::fault("unknown_key", key).at(Some(self.line(span)));
        let written = self.text.get(value.span()).unwrap_or_default();
        let problem = match matches!(value.get_ref(), DeValue::Table(_)) {
            true => problem,
            false if is_secret => problem.value("***"),
            false => problem.value(written.lines().next().unwrap_or_default()),
        };
        if is_secret && siblings.contains(&"password_file") {
            self.tell(
                Problem { rule: "secret_in_file", ..problem }.allowed("secrets never stand in this file").remedy(
                    "write it to a file only the gateway reads and name that in password_file, or use password_env",
                ),
            );
            return;
        }
        let distance = |known: &str| strsim::damerau_levenshtein(name, known);
        let near = siblings.iter().copied().min_by_key(|known| distance(known));
        let near = near.filter(|known| distance(known) <= 2.max(name.len() / 3));
        let elsewhere = self.known.iter().find(|path| path.rsplit('.').next() == Some(name));
        let problem = problem.allowed("there is no such key");
        self.tell(match (near, elsewhere) {
            (Some(near), _) => problem.remedy(format!("did you mean `{near}`?")),
            (None, Some(path)) => problem.remedy(format!("did you mean `{path}`?")),
            (None, None) => problem.remedy(format!("remove it; the keys here are {}", siblings.join(", "))),
        });
    }
}

/// One table being read; what is left when it is dropped by [`Reader::finish`] is unknown.
pub(super) struct Reader<'r, 'i, 't> {
    input: &'r Input<'i>,
    table: &'r DeTable<'t>,
    path: String,
    asked: Vec<&'static str>,
}

impl<'r, 'i, 't> Reader<'r, 'i, 't> {
    pub fn new(input: &'r Input<'i>, table: &'r DeTable<'t>, path: &str) -> Self {
        Self { input, table, path: path.to_owned(), asked: Vec::new() }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub fn optional<T: Setting>(&mut self, name: &'static str, allowed: &str) -> Option<T> {
        self.asked.push(name);
        let (key, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        let path = self.key(name);
        match self.input.note(&path, &key.span()) {
            true => T::read(self.input, value, &path, allowed),
            false => None,
        }
    }

    pub fn required<T: Setting>(&mut self, name: &'static str, allowed: &str) -> Option<T> {
        let before = self.input.problems.borrow().len();
        let found = self.optional(name, allowed);
        if found.is_none() && self.input.problems.borrow().len() == before {
            let line = self.input.lines.borrow().of(&self.path);
            self.input.tell(
                Problem::fault("missing", self.key(name))
                    .at(line)
                    .allowed(format!("the key must be given: {allowed}"))
                    .remedy(format!("add a line `{name} = ...`")),
            );
        }
        found
    }

    /// As [`Self::optional`], with both ends allowed.
    pub fn within<T: Setting + PartialOrd>(
        &mut self,
        name: &'static str,
        allowed: &str,
        range: std::ops::RangeInclusive<T>,
    ) -> Option<T> {
        let found = self.optional::<T>(name, allowed)?;
        if range.contains(&found) {
            return Some(found);
        }
        if let Some((_, value)) = self.table.iter().find(|(key, _)| key.get_ref() == name) {
            self.input.wrong("range", value, &self.key(name), allowed);
        }
        None
    }

    pub fn finish(self) {
        for (key, value) in self.table {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                self.input.unknown(&self.key(name), &key.span(), value, &self.asked);
            }
        }
    }
}

/// Writes a section once: its struct, its defaults, its reader and its documentation.
///
/// `name: Type = default, min to max;` a key with bounds; without `=` the key must be given.
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident : $type:ty $(= $default:expr)? $(, $min:literal to $max:literal)? ; )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: settings!(@default $type $(, $default)?), )* }
            }
        }

        impl $crate::config::reader::Setting for $name {
            fn allowed() -> String {
                "a table".to_owned()
            }

            fn read(
                input: &$crate::config::reader::Input<'_>,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                key: &str,
                allowed: &str,
            ) -> Option<Self> {
                let toml::de::DeValue::Table(table) = value.get_ref() else {
                    input.wrong("type", value, key, allowed);
                    return None;
                };
                let mut reader = $crate::config::reader::Reader::new(input, table, key);
                let found = Self {
                    $( $field: settings!(@read reader, $field, $type $(, = $default)? $(, $min to $max)?), )*
                };
                reader.finish();
                Some(found)
            }

            fn show(&self) -> Option<String> {
                None
            }

            fn about() -> &'static [&'static str] {
                &[$($about),*]
            }

            fn keys(prefix: &str) -> Vec<$crate::config::reader::Key> {
                use $crate::config::reader::{Key, Setting};
                let mut keys = Vec::new();
                $({
                    let path = match prefix {
                        "" => stringify!($field).to_owned(),
                        prefix => format!("{prefix}.{}", stringify!($field)),
                    };
                    let below = <$type as Setting>::keys(&path);
                    let is_table = !below.is_empty();
                    let default: Option<$type> = settings!(@documented $($default)?);
                    keys.push(Key {
                        path,
                        doc: if is_table { <$type as Setting>::about() } else { &[$($doc),*] },
                        default: default.as_ref().filter(|_| !is_table).and_then(Setting::show),
                        is_required: default.is_none(),
                        is_table,
                        allowed: settings!(@allowed $type $(, $min to $max)?),
                    });
                    keys.extend(below);
                })*
                keys
            }
        }
    };
    (@default $type:ty) => { <$type>::default() };
    (@default $type:ty, $default:expr) => { $default };
    (@documented) => { None };
    (@documented $default:expr) => { Some($default) };
    (@allowed $type:ty) => { <$type as $crate::config::reader::Setting>::allowed() };
    (@allowed $type:ty, $min:literal to $max:literal) => {
        format!("{} from {} to {}", <$type as $crate::config::reader::Setting>::allowed(), $min, $max)
    };
    (@read $reader:ident, $field:ident, $type:ty) => {
        $reader.required::<$type>(stringify!($field), &settings!(@allowed $type)).unwrap_or_default()
    };
    (@read $reader:ident, $field:ident, $type:ty, = $default:expr) => {
        $reader.optional::<$type>(stringify!($field), &settings!(@allowed $type)).unwrap_or_else(|| $default)
    };
    (@read $reader:ident, $field:ident, $type:ty, = $default:expr, $min:literal to $max:literal) => {
        $reader
            .within::<$type>(stringify!($field), &settings!(@allowed $type, $min to $max), $min..=$max)
            .unwrap_or_else(|| $default)
    };
}

pub(super) use settings;
