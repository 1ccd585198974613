//! CSTA bodies as the transcripts write them: `AnswerCall(callToBeAnswered(4711/$line))` for the XML with these children.
//!
//! `name=text` is an element with text, `name(…)` one with children, `name` an empty one; `call/device` stands for callID
//! and deviceID, `@device` for deviceIdentifier, `$line` for the line URI, `$id` for the session's id.

pub const ED3: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";
pub const LINE: &str = "tel:+14255550101;ext=5101";
pub const ID: &str = "51e55107a9000001";
const RCC: &str = "http://schemas.microsoft.com/Lcs/2005/04/RCCExtension";

/// XML of a notation; text that begins with `<`, or that is no notation, stays as it is.
pub fn expand(text: &str) -> String {
    if text.is_empty() || text.starts_with('<') {
        return text.to_owned();
    }
    let text = text.replace("$line", LINE).replace("$id", ID);
    let mut rest = text.as_str();
    let mut xml = String::from("<?xml version=\"1.0\"?>");
    item(&mut rest, &mut xml, true);
    assert!(rest.is_empty(), "left over: {rest}");
    xml
}

fn item(rest: &mut &str, xml: &mut String, is_root: bool) {
    let value = |rest: &mut &str| {
        let end = rest.find([' ', ')']).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        *rest = after;
        value.replace('&', "&amp;").replace('<', "&lt;")
    };
    if let Some(after) = rest.strip_prefix('@') {
        *rest = after;
        xml.push_str(&format!("<deviceIdentifier>{}</deviceIdentifier>", value(rest)));
        return;
    }
    let end = rest.find([' ', ')', '(', '=', '/']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        xml.push_str(&format!("<callID>{name}</callID><deviceID>{}</deviceID>", value(rest)));
        return;
    }
    let (tag, attribute) = match (is_root, name) {
        (true, _) => (name.to_owned(), format!(" xmlns=\"{ED3}\"")),
        (false, "line") => ("lcs:line".into(), format!(" xmlns:lcs=\"{RCC}\"")),
        (false, _) => (name.to_owned(), String::new()),
    };
    xml.push_str(&format!("<{tag}{attribute}>"));
    if let Some(after) = rest.strip_prefix('=') {
        *rest = after;
        xml.push_str(&value(rest));
    } else if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        while !rest.starts_with(')') {
            assert!(!rest.is_empty(), "`)` is missing in {name}");
            item(rest, xml, false);
            *rest = rest.trim_start_matches(' ');
        }
        *rest = &rest[1..];
    }
    xml.push_str(&format!("</{tag}>"));
}

/// The notation of XML as the gateway writes it.
pub fn compact(xml: &[u8]) -> String {
    let xml = std::str::from_utf8(xml).expect("we write UTF-8");
    let mut rest = xml.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").trim_start();
    let is_ed3 = rest.contains(&format!(" xmlns=\"{ED3}\""));
    let mut out = String::new();
    element(&mut rest, &mut out);
    let other = if is_ed3 || !xml.contains(" xmlns=") {
        String::new()
    } else {
        let at = xml.find(" xmlns=\"").expect("just seen") + 8;
        let name = xml[at..].split('"').next().unwrap_or_default();
        format!("{{{}}}", name.rsplit('/').next().unwrap_or_default())
    };
    let out = out.replace(LINE, "$line").replace(ID, "$id");
    format!("{other}{out}")
}

fn element(rest: &mut &str, out: &mut String) {
    let end = rest.find('>').expect("a whole tag");
    let tag = &rest[1..end];
    *rest = &rest[end + 1..];
    let name = tag.trim_end_matches('/').split(' ').next().unwrap_or_default().to_owned();
    if tag.ends_with('/') {
        out.push_str(&name);
        return;
    }
    let close = format!("</{name}>");
    let mut children: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        if let Some(after) = rest.strip_prefix(close.as_str()) {
            *rest = after;
            break;
        }
        if rest.starts_with('<') {
            let mut child = String::new();
            element(rest, &mut child);
            children.push(child);
        } else {
            let end = rest.find('<').expect("a closing tag");
            text.push_str(&rest[..end]);
            *rest = &rest[end..];
        }
    }
    let text = text.trim();
    if children.is_empty() {
        match (name.as_str(), text) {
            ("deviceIdentifier", text) => out.push_str(&format!("@{text}")),
            (_, "") => out.push_str(&name),
            _ => out.push_str(&format!("{name}={text}")),
        }
        return;
    }
    let connection = children.iter().position(|child| child.starts_with("callID="));
    if let Some(at) = connection
        && children.get(at + 1).is_some_and(|next| next.starts_with("deviceID="))
    {
        let device = children.remove(at + 1);
        children[at] = format!("{}/{}", &children[at]["callID=".len()..], &device["deviceID=".len()..]);
    }
    out.push_str(&format!("{name}({})", children.join(" ")));
}

/// `Delivered 4711/5101 5202>5101 alerting newCall` for the event with that connection, caller and called, state and cause.
/// The subject is the connection's device unless `by=` names another.
pub fn event(text: &str, xref: &str) -> String {
    if let Some(at) = text.find('(') {
        return expand(&format!("{}(monitorCrossRefID={xref} {}", &text[..at], &text[at + 1..]));
    }
    const SHAPES: [(&str, &str, &str, bool); 11] = [
        ("ServiceInitiated", "initiatedConnection", "initiatingDevice", false),
        ("Originated", "originatedConnection", "", true),
        ("NetworkReached", "outboundConnection", "networkInterfaceUsed", true),
        ("Delivered", "connection", "alertingDevice", true),
        ("Offered", "offeredConnection", "offeredDevice", true),
        ("Established", "establishedConnection", "answeringDevice", true),
        ("Failed", "failedConnection", "failingDevice", true),
        ("Queued", "queuedConnection", "queue", true),
        ("Held", "heldConnection", "holdingDevice", false),
        ("Retrieved", "retrievedConnection", "retrievingDevice", false),
        ("ConnectionCleared", "droppedConnection", "releasingDevice", false),
    ];
    let mut words = text.split(' ');
    let name = words.next().unwrap_or_default();
    let (_, connection_tag, subject_tag, has_calling) =
        SHAPES.iter().find(|shape| shape.0 == name).unwrap_or_else(|| panic!("no short form of {name}"));
    let connection = words.next().expect("call/device");
    let mut subject = connection.split_once('/').expect("call/device").1;
    let (mut calling, mut state, mut cause) = (String::new(), String::new(), "normal");
    for word in words {
        if let Some(device) = word.strip_prefix("by=") {
            subject = device;
        } else if let Some((from, to)) = word.split_once('>') {
            let party = |device: &str| match device {
                "?" => "notKnown".to_owned(),
                "-" => "restricted".to_owned(),
                device => format!("@{device}"),
            };
            calling = format!(" callingDevice({}) calledDevice({})", party(from), party(to));
        } else if ["null", "initiated", "alerting", "connected", "hold", "queued", "fail"].contains(&word) {
            state = format!(" localConnectionInfo={word}");
        } else {
            cause = word;
        }
    }
    assert_eq!(*has_calling, !calling.is_empty(), "{name} with caller>called, or without");
    let subject = if subject_tag.is_empty() { String::new() } else { format!(" {subject_tag}(@{subject})") };
    expand(&format!(
        "{name}Event(monitorCrossRefID={xref} {connection_tag}({connection}){subject}{calling}{state} cause={cause})"
    ))
}
