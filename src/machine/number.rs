//! Numbers on their way to the PBX and back: what is dialled, and what a client is shown.

use super::directory::Directory;
use super::tel::Tel;

pub use super::tel::NumberError;

/// What the PBX dials for a target a client named: the station's device when the directory knows the number and the
/// device can be dialled, else the number itself (`+14255550199`, `5102`, `*21#`). A user's SIP address dials that
/// user's only device.
pub fn dialled(text: &str, directory: &Directory) -> Result<String, NumberError> {
    let tel = match Tel::parse(text) {
        Ok(tel) => tel,
        Err(NumberError::NotANumber) => {
            let appearance = directory.appearance(text, None).map_err(|_| NumberError::NotANumber)?;
            return dialable(&appearance.device).or_else(|| dialable(&appearance.line)).ok_or(NumberError::NotANumber);
        }
        Err(error) => return Err(error),
    };
    Ok(directory.device_of(&tel).and_then(dialable).unwrap_or(tel.number))
}

/// What a client is shown for a number or device the PBX names: `tel:+E164` for a global number, the line's number for
/// a known device, else `tel:3000;phone-context=<context>`. A text that is no number (a trunk's name) stays as it is.
pub fn shown(pbx_number: &str, directory: &Directory, phone_context: &str) -> String {
    if let Some(tel) = directory.line_of_device(pbx_number.trim()).and_then(|line| Tel::parse(line).ok()) {
        return tel.shown();
    }
    match Tel::parse(pbx_number) {
        Ok(tel) if tel.is_global() => tel.shown(),
        Ok(mut tel) => {
            if let Some(line) = directory.line_of_device(&tel.number).and_then(|line| Tel::parse(line).ok()) {
                return line.shown();
            }
            tel.phone_context.get_or_insert_with(|| phone_context.to_owned());
            tel.shown()
        }
        Err(_) => pbx_number.to_owned(),
    }
}

/// The text as digits a PBX takes; `None` for a device name such as `SEP001122334455`.
fn dialable(device: &str) -> Option<String> {
    Tel::parse(device).ok().map(|tel| tel.number)
}

#[cfg(test)]
mod tests {
    use super::super::directory::Appearance;
    use super::*;

    fn directory() -> Directory {
        Directory::new([
            Appearance::new("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101"),
            Appearance::new("sip:bob@contoso.com", "tel:+14255550102", "5102"),
            Appearance::new("sip:carol@contoso.com", "tel:73124;phone-context=dialstring", "SEP001122334455"),
            Appearance::new("sip:dave@contoso.com", "tel:+14255550100;ext=5104", "5104"),
            Appearance::new("sip:erin@contoso.com", "tel:+14255550100;ext=5105", "5105"),
        ])
        .expect("good entries")
    }

    #[test]
    fn known_numbers_dial_their_device_and_others_themselves() {
        let directory = directory();
        let dial = |text: &str| dialled(text, &directory).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(dial("tel:+1-425-555-0102"), "5102");
        assert_eq!(dial("tel:+14255550101"), "5101", "the only line of that number");
        assert_eq!(dial("tel:+14255550101;ext=5101"), "5101");
        assert_eq!(dial("tel:+14255550100;ext=5105"), "5105");
        assert_eq!(dial("tel:+14255550100"), "+14255550100", "two lines share it: the PBX decides");
        assert_eq!(dial("tel:5102;phone-context=dialstring"), "5102");
        assert_eq!(dial("tel:73124;phone-context=dialstring"), "73124", "a device name cannot be dialled");
        assert_eq!(dial("sip:+14255550199@contoso.com;user=phone"), "+14255550199");
        assert_eq!(dial("9 (425) 555-0199"), "94255550199");
        assert_eq!(dial("sip:Bob@CONTOSO.com"), "5102");
        assert_eq!(dial("sip:carol@contoso.com"), "73124");
        assert_eq!(dial("tel:*72"), "*72");
    }

    #[test]
    fn vanity_numbers_and_strangers_are_refused() {
        let directory = directory();
        assert_eq!(dialled("tel:+1-800-flowers", &directory), Err(NumberError::Letter { letter: 'f', at: 12 }));
        assert_eq!(dialled("sip:mallory@contoso.com", &directory), Err(NumberError::NotANumber));
        assert_eq!(dialled("", &directory), Err(NumberError::Empty));
    }

    #[test]
    fn clients_are_shown_numbers_they_can_look_up() {
        let directory = directory();
        let show = |text: &str| shown(text, &directory, "contoso.com");
        assert_eq!(show("5101"), "tel:+14255550101;ext=5101");
        assert_eq!(show("5102"), "tel:+14255550102");
        assert_eq!(show("sep001122334455"), "tel:73124;phone-context=dialstring");
        assert_eq!(show("+1 425 555 0199"), "tel:+14255550199");
        assert_eq!(show("3000"), "tel:3000;phone-context=contoso.com");
        assert_eq!(show("tel:3000;phone-context=cdp.nortel.com"), "tel:3000;phone-context=cdp.nortel.com");
        assert_eq!(show("T1/7"), "T1/7");
    }
}
