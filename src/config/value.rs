//! How each kind of value is read: numbers, texts, lists, choices.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::address::{CtiAddress, HepAddress, Host, ListenAddress, Network, PeerName};
use super::reader::{Input, Key, Setting};

/// Elements a list may have.
const ELEMENTS_MAX: usize = 200_000;

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn allowed() -> String {
                "a whole number".to_owned()
            }

            fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
                let DeValue::Integer(integer) = value.get_ref() else {
                    input.wrong("type", value, key, allowed);
                    return None;
                };
                let number = <$type>::from_str_radix(integer.as_str(), integer.radix()).ok();
                if number.is_none() {
                    input.wrong("range", value, key, allowed);
                }
                number
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize);

/// Types whose text form is checked by `FromStr` and shown by `Display`.
macro_rules! texts {
    ($($type:ty => $allowed:literal),* $(,)?) => {$(
        impl Setting for $type {
            fn allowed() -> String {
                $allowed.to_owned()
            }

            fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
                let DeValue::String(text) = value.get_ref() else {
                    input.wrong("type", value, key, allowed);
                    return None;
                };
                let found = text.parse().ok();
                if found.is_none() {
                    input.wrong("form", value, key, allowed);
                }
                found
            }

            fn show(&self) -> Option<String> {
                Some(toml::Value::from(self.to_string()).to_string())
            }
        }
    )*};
}

texts! {
    ListenAddress => "\"tcp://host:port\", \"tls://host:port\" or \"mtls://host:port\"",
    CtiAddress => "\"csta://host:port\" or \"dmcc://host:port\"",
    HepAddress => "\"udp://host:port\"",
    IpAddr => "an IP address",
    Network => "an IP address or a network such as \"10.1.0.0/16\", with zeros behind the prefix",
    Host => "a host name such as \"rccgw.contoso.com\", or an IP address",
    PeerName => "a certificate name such as \"fe01.contoso.com\" or \"*.contoso.com\", or \"*\"",
}

impl Setting for String {
    fn allowed() -> String {
        "a text that is not empty".to_owned()
    }

    fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                input.wrong("form", value, key, allowed);
                None
            }
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => {
                input.wrong("type", value, key, allowed);
                None
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some(toml::Value::from(self.as_str()).to_string())
    }
}

impl Setting for PathBuf {
    fn allowed() -> String {
        "a path; one that is not absolute starts at the folder of this file".to_owned()
    }

    fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
        String::read(input, value, key, allowed).map(Self::from)
    }

    fn show(&self) -> Option<String> {
        self.display().to_string().show()
    }
}

impl Setting for bool {
    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(claim) => Some(*claim),
            _ => {
                input.wrong("type", value, key, allowed);
                None
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn allowed() -> String {
        T::allowed()
    }

    fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
        T::read(input, value, key, allowed).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Setting::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn allowed() -> String {
        format!("a list, each {}", T::allowed())
    }

    fn read(input: &Input<'_>, value: &Spanned<DeValue<'_>>, key: &str, allowed: &str) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            input.wrong("type", value, key, allowed);
            return None;
        };
        if array.len() > ELEMENTS_MAX {
            input.wrong("too_many", value, key, &format!("at most {ELEMENTS_MAX} elements"));
            return None;
        }
        let allowed = T::allowed();
        let elements = array.iter().enumerate().map(|(n, element)| {
            let key = format!("{key}[{n}]");
            input.note_element(&key, &element.span());
            T::read(input, element, &key, &allowed)
        });
        // Every element is read, also after a wrong one.
        let elements: Vec<Option<T>> = elements.collect();
        elements.into_iter().collect()
    }

    fn show(&self) -> Option<String> {
        let elements: Vec<String> = self.iter().filter_map(Setting::show).collect();
        Some(format!("[{}]", elements.join(", ")))
    }

    fn about() -> &'static [&'static str] {
        T::about()
    }

    fn keys(prefix: &str) -> Vec<Key> {
        T::keys(&format!("{prefix}[]"))
    }
}

/// An enum that stands in the file as one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[doc = $doc:literal])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $( $(#[doc = $doc])* $variant ),* }

        impl $name {
            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }
        }

        impl $crate::config::reader::Setting for $name {
            fn allowed() -> String {
                let words: Vec<String> = [$($word),*].iter().map(|word| format!("{word:?}")).collect();
                words.join(" or ")
            }

            fn read(
                input: &$crate::config::reader::Input<'_>,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                key: &str,
                allowed: &str,
            ) -> Option<Self> {
                let word = match value.get_ref() {
                    toml::de::DeValue::String(word) => word.as_ref(),
                    _ => "",
                };
                match word {
                    $( $word => Some(Self::$variant), )*
                    _ => {
                        input.wrong("form", value, key, allowed);
                        None
                    }
                }
            }

            fn show(&self) -> Option<String> {
                Some(format!("{:?}", self.word()))
            }
        }
    };
}

pub(super) use choice;
