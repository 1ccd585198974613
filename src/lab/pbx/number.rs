//! Numbers as people and gateways write them, and the plan that ties E.164 numbers to extensions.

use serde::{Deserialize, Serialize};

/// The longest number taken, in digits.
pub const DIGITS_MAX: usize = 32;

/// E.164 numbers that belong to extensions. The first rule that fits wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumberPlan {
    pub rules: Vec<PlanRule>,
}

/// `+1425555` followed by `digits` digits is the extension `extension_prefix` followed by the same digits. With prefix
/// `+14255550`, extension prefix `5` and 3 digits, `+14255550101` is 5101.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRule {
    pub e164_prefix: String,
    pub extension_prefix: String,
    pub digits: usize,
}

impl NumberPlan {
    pub fn extension(&self, number: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| {
            let rest = number.strip_prefix(rule.e164_prefix.as_str())?;
            (rest.len() == rule.digits).then(|| format!("{}{rest}", rule.extension_prefix))
        })
    }

    pub fn e164(&self, extension: &str) -> Option<String> {
        self.rules.iter().find_map(|rule| {
            let rest = extension.strip_prefix(rule.extension_prefix.as_str())?;
            (rest.len() == rule.digits).then(|| format!("{}{rest}", rule.e164_prefix))
        })
    }
}

/// The bare number: scheme, parameters, host and visual separators (`- . ( ) /` and blanks) removed, and what follows a
/// colon too (`5101:switch::0`, a DMCC device id). `None` when it is no number.
pub fn bare(text: &str) -> Option<String> {
    let text = text.trim();
    let text = ["tel:", "sip:", "sips:"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let text = text.split([';', '@', ':']).next().unwrap_or_default();
    let mut number = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '0'..='9' | '*' | '#' => number.push(c),
            '+' if number.is_empty() => number.push(c),
            '-' | '.' | '(' | ')' | '/' | ' ' => {}
            _ => return None,
        }
    }
    let digits = number.trim_start_matches('+').len();
    (1..=DIGITS_MAX).contains(&digits).then_some(number)
}

/// The `ext=` parameter of a `tel:` URI.
pub fn extension_parameter(text: &str) -> Option<&str> {
    text.split(';').skip(1).find_map(|parameter| parameter.strip_prefix("ext="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_schemes_and_parameters_are_stripped() {
        for (text, number) in [
            ("5102", Some("5102")),
            ("tel:+1 (425) 555-0202;phone-context=x", Some("+14255550202")),
            ("sip:+14255550202@host;user=phone", Some("+14255550202")),
            ("5101:SWITCH::0", Some("5101")),
            ("*31#", Some("*31#")),
            ("", None),
            ("+", None),
            ("12+3", None),
            ("alice", None),
        ] {
            assert_eq!(bare(text).as_deref(), number, "{text}");
        }
        assert_eq!(bare(&"1".repeat(DIGITS_MAX + 1)), None);
    }

    #[test]
    fn the_plan_maps_both_ways() {
        let plan = NumberPlan {
            rules: vec![PlanRule { e164_prefix: "+14255550".into(), extension_prefix: "5".into(), digits: 3 }],
        };
        assert_eq!(plan.extension("+14255550101").as_deref(), Some("5101"));
        assert_eq!(plan.e164("5101").as_deref(), Some("+14255550101"));
        assert_eq!(plan.extension("+142555501011"), None);
        assert_eq!(plan.e164("6101"), None);
    }
}
