//! Typed views on headers (RFC 3261 §20): read when asked for, from the text as it stands.

use super::text::{is_token, number, param, trim};
use super::{Headers, Malformed, NameAddr, Via};

/// CSeq (RFC 3261 §20.16): at most 2^31 - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    pub number: u32,
    pub method: String,
}

impl CSeq {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        let bad = Malformed::Value { name: "CSeq" };
        let gap = text.find([' ', '\t']).ok_or(bad)?;
        let method = trim(&text[gap..]);
        let number = number(&text[..gap], i32::MAX as u32).ok_or(bad)?;
        if !is_token(method) {
            return Err(bad);
        }
        Ok(Self { number, method: method.to_owned() })
    }
}

impl Headers {
    /// The only field of this name: a second one is refused, for whoever reads the other one reads another message.
    fn only(&self, name: &'static str) -> Result<Option<&str>, Malformed> {
        let mut fields = self.fields(name);
        let first = fields.next();
        match fields.next() {
            Some(_) => Err(Malformed::Repeated { name }),
            None => Ok(first),
        }
    }

    fn demanded(&self, name: &'static str) -> Result<&str, Malformed> {
        self.only(name)?.ok_or(Malformed::Missing { name })
    }

    /// Compared with case, byte for byte (RFC 3261 §20.8).
    pub fn call_id(&self) -> Result<&str, Malformed> {
        let value = self.demanded("Call-ID")?;
        if value.is_empty() || value.contains([' ', '\t']) {
            return Err(Malformed::Value { name: "Call-ID" });
        }
        Ok(value)
    }

    pub fn cseq(&self) -> Result<CSeq, Malformed> {
        CSeq::parse(self.demanded("CSeq")?)
    }

    pub fn from(&self) -> Result<NameAddr, Malformed> {
        NameAddr::parse(self.demanded("From")?).map_err(|_| Malformed::Value { name: "From" })
    }

    pub fn to(&self) -> Result<NameAddr, Malformed> {
        NameAddr::parse(self.demanded("To")?).map_err(|_| Malformed::Value { name: "To" })
    }

    /// The first Contact; `None` when there is none. `*` is an error: it names nobody.
    pub fn contact(&self) -> Result<Option<NameAddr>, Malformed> {
        let first = self.values("Contact").next();
        first.map(NameAddr::parse).transpose().map_err(|_| Malformed::Value { name: "Contact" })
    }

    pub fn top_via(&self) -> Result<Via, Malformed> {
        Via::parse(self.values("Via").next().ok_or(Malformed::Missing { name: "Via" })?)
    }

    /// `Session-Expires: 1800;refresher=uac` (RFC 4028 §4): seconds, and `uac` or `uas` when named.
    pub fn session_expires(&self) -> Result<Option<(u32, Option<String>)>, Malformed> {
        let name = "Session-Expires";
        let Some(value) = self.only(name)? else { return Ok(None) };
        let (seconds, params) = value.split_once(';').unwrap_or((value, ""));
        let seconds = number(trim(seconds), u32::MAX).ok_or(Malformed::Value { name })?;
        Ok(Some((seconds, param(params, "refresher").map(str::to_ascii_lowercase))))
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Result<Option<u32>, Malformed> {
        let name = "Min-SE";
        let Some(value) = self.only(name)? else { return Ok(None) };
        let seconds = value.split(';').next().unwrap_or_default();
        number(trim(seconds), u32::MAX).map(Some).ok_or(Malformed::Value { name })
    }

    /// Hops left, 0 to 255 (RFC 3261 §20.22); `None` when absent, as in RFC 2543.
    pub fn max_forwards(&self) -> Result<Option<u8>, Malformed> {
        let name = "Max-Forwards";
        let Some(value) = self.only(name)? else { return Ok(None) };
        number(value, 255).and_then(|hops| u8::try_from(hops).ok()).map(Some).ok_or(Malformed::Value { name })
    }

    /// Declared body bytes; the printed value comes from the body, not from here.
    pub fn content_length(&self) -> Result<Option<u32>, Malformed> {
        let name = "Content-Length";
        let Some(value) = self.only(name)? else { return Ok(None) };
        number(value, i32::MAX as u32).map(Some).ok_or(Malformed::Value { name })
    }

    /// Whether the body is of this media type, compared without case and without parameters (RFC 3261 §20.15).
    pub fn is_content_type(&self, media_type: &str) -> bool {
        let same = |value: &str| trim(value.split(';').next().unwrap_or_default()).eq_ignore_ascii_case(media_type);
        self.get("Content-Type").is_some_and(same)
    }

    /// Gives To a tag when it can be read and has none (RFC 3261 §8.2.6.2).
    pub fn tag_to(&mut self, tag: &str) {
        if let Ok(to) = self.to()
            && to.tag().is_none()
        {
            self.set("To", format!("{};tag={tag}", to.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Headers {
        let mut headers = Headers::default();
        headers.push(name, value);
        headers
    }

    #[test]
    fn cseq_stops_at_two_to_the_31() {
        assert_eq!(one("CSeq", "0009  INVITE").cseq(), Ok(CSeq { number: 9, method: "INVITE".to_owned() }));
        assert!(one("CSeq", "2147483647 INFO").cseq().is_ok());
        for bad in ["2147483648 INFO", "1", "1 IN FO", "-1 INFO", "INFO 1", "36893488147419103232 REGISTER", ""] {
            assert_eq!(one("CSeq", bad).cseq(), Err(Malformed::Value { name: "CSeq" }), "{bad}");
        }
    }

    #[test]
    fn a_single_valued_header_given_twice_is_refused() {
        let mut headers = one("Call-ID", "a");
        headers.push("i", "a");
        assert_eq!(headers.call_id(), Err(Malformed::Repeated { name: "Call-ID" }));
        assert_eq!(Headers::default().call_id(), Err(Malformed::Missing { name: "Call-ID" }));
    }

    #[test]
    fn session_expires_reads_seconds_and_refresher() {
        assert_eq!(one("x", "1800 ; refresher=UAC").session_expires(), Ok(Some((1800, Some("uac".to_owned())))));
        assert_eq!(one("Session-Expires", "90").session_expires(), Ok(Some((90, None))));
        assert_eq!(Headers::default().session_expires(), Ok(None));
        assert!(one("x", "soon").session_expires().is_err());
        assert_eq!(one("Min-SE", "90;x=y").min_se(), Ok(Some(90)));
    }

    #[test]
    fn content_type_matches_without_case_and_parameters() {
        let headers = one("c", "Application/CSTA+xml ; charset=utf-8");
        assert!(headers.is_content_type("application/csta+xml") && !headers.is_content_type("application/sdp"));
    }

    #[test]
    fn max_forwards_is_a_byte() {
        assert_eq!(one("Max-Forwards", "0068").max_forwards(), Ok(Some(68)));
        assert!(one("Max-Forwards", "256").max_forwards().is_err());
    }

    #[test]
    fn a_tag_is_added_once() {
        let mut headers = one("To", "<sip:a@b>;x=y");
        headers.tag_to("1");
        headers.tag_to("2");
        assert_eq!(headers.get("To"), Some("<sip:a@b>;x=y;tag=1"));
    }
}
