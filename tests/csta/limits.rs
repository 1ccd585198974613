//! Hostile bodies: each is refused with its own error at its own place.

use lyncpin::csta::tree::Tree;
use lyncpin::csta::{ATTRIBUTES_MAX, BODY_BYTES_MAX, DEPTH_MAX, XmlError, decode};

fn nested(depth: usize) -> String {
    format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth))
}

fn attributes(count: usize) -> String {
    let list: String = (0..count).map(|index| format!(" a{index}='v'")).collect();
    format!("<x{list}/>")
}

#[test]
fn hostile_bodies_are_refused_each_with_its_own_error() {
    const BILLION_LAUGHS: &str = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"#;
    const EXTERNAL: &str = r#"<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>"#;
    let deep = nested(100_000);
    let deep_in_size = nested(9_000);
    let wide = attributes(20_000);
    let wide_in_size = attributes(6_000);
    let long = format!("<x>{}</x>", "y".repeat(10 * 1024 * 1024));
    let cases: &[(&str, &[u8], XmlError)] = &[
        ("empty", b"", XmlError::NoRoot { at: 0 }),
        ("layout only", b" \r\n", XmlError::NoRoot { at: 3 }),
        ("prolog only", b"<?xml version='1.0'?>", XmlError::NoRoot { at: 21 }),
        ("billion laughs", BILLION_LAUGHS.as_bytes(), XmlError::Doctype { at: 0 }),
        ("external entity", EXTERNAL.as_bytes(), XmlError::Doctype { at: 21 }),
        ("plain doctype", b"<!DOCTYPE x><x/>", XmlError::Doctype { at: 0 }),
        ("doctype inside", b"<x><!DOCTYPE y></x>", XmlError::Doctype { at: 3 }),
        ("doctype cut", b"<!DOCTYPE x [", XmlError::Doctype { at: 0 }),
        ("100,000 levels", deep.as_bytes(), XmlError::TooLarge { bytes: 700_000 }),
        ("9,000 levels", deep_in_size.as_bytes(), XmlError::TooDeep { at: 3 * DEPTH_MAX }),
        ("20,000 attributes", wide.as_bytes(), XmlError::TooLarge { bytes: wide.len() }),
        ("6,000 attributes", wide_in_size.as_bytes(), XmlError::TooManyAttributes { at: 0 }),
        ("10 MiB", long.as_bytes(), XmlError::TooLarge { bytes: long.len() }),
        ("NUL in text", b"<x>\0</x>", XmlError::Character { at: 3 }),
        ("control in text", b"<x>ab\x0b</x>", XmlError::Character { at: 5 }),
        ("control after the root", b"<x/>\0", XmlError::Character { at: 4 }),
        ("U+FFFE", b"<x>\xef\xbf\xbe</x>", XmlError::Character { at: 3 }),
        ("NUL by reference", b"<x>&#0;</x>", XmlError::Reference { at: 3 }),
        ("control by reference", b"<x>&#x1f;</x>", XmlError::Reference { at: 3 }),
        ("surrogate by reference", b"<x>&#xD800;</x>", XmlError::Reference { at: 3 }),
        ("out of Unicode", b"<x>&#x110000;</x>", XmlError::Reference { at: 3 }),
        ("unknown entity", b"<x>&nbsp;</x>", XmlError::Reference { at: 3 }),
        ("unclosed reference", b"<x>&amp</x>", XmlError::Reference { at: 3 }),
        ("reference outside", b"<x/>&amp;", XmlError::OutsideRoot { at: 4 }),
        ("bad UTF-8", b"<x>\xc3\x28</x>", XmlError::NotUtf8 { at: 3 }),
        ("overlong UTF-8", b"<x>\xc0\x80</x>", XmlError::NotUtf8 { at: 3 }),
        ("UTF-16", b"\xff\xfe<\0x\0/\0>\0", XmlError::NotUtf8 { at: 0 }),
        ("UTF-16 without mark", b"<\0x\0/\0>\0", XmlError::Character { at: 1 }),
        ("declared UTF-16", b"<?xml version='1.0' encoding='UTF-16'?><x/>", XmlError::Encoding { at: 0 }),
        ("declared Latin-1", b"<?xml version='1.0' encoding='ISO-8859-1'?><x/>", XmlError::Encoding { at: 0 }),
        ("declared nonsense", b"<?xml version='1.0' encoding=''?><x/>", XmlError::Encoding { at: 0 }),
        ("no version", b"<?xml encoding='UTF-8'?><x/>", XmlError::Declaration { at: 0 }),
        ("version 2", b"<?xml version='2.0'?><x/>", XmlError::Declaration { at: 0 }),
        ("late declaration", b"<!-- --><?xml version='1.0'?><x/>", XmlError::Declaration { at: 8 }),
        ("inner declaration", b"<x><?xml version='1.0'?></x>", XmlError::Declaration { at: 3 }),
        ("two roots", b"<x/><y/>", XmlError::SecondRoot { at: 4 }),
        ("trailing text", b"<x/>garbage", XmlError::OutsideRoot { at: 4 }),
        ("leading text", b"garbage<x/>", XmlError::OutsideRoot { at: 0 }),
        ("trailing CDATA", b"<x/><![CDATA[y]]>", XmlError::OutsideRoot { at: 4 }),
        ("trailing end tag", b"<x/></x>", XmlError::Mismatched { at: 4 }),
        ("unclosed", b"<x><y></y>", XmlError::Unclosed { at: 10 }),
        ("unclosed tag", b"<x", XmlError::Unclosed { at: 0 }),
        ("unclosed value", b"<x a='", XmlError::Unclosed { at: 0 }),
        ("unclosed comment", b"<x><!-- </x>", XmlError::Unclosed { at: 3 }),
        ("unclosed CDATA", b"<x><![CDATA[ </x>", XmlError::Unclosed { at: 3 }),
        ("crossed tags", b"<x><y></x></y>", XmlError::Mismatched { at: 6 }),
        ("prefix differs", b"<a:x></b:x>", XmlError::Mismatched { at: 5 }),
        ("double hyphen", b"<x><!-- -- --></x>", XmlError::Comment { at: 8 }),
        ("CDATA end in text", b"<x>]]></x>", XmlError::Character { at: 3 }),
        ("no name", b"<></>", XmlError::Name { at: 0 }),
        ("name of digits", b"<1/>", XmlError::Name { at: 0 }),
        ("two colons", b"<a:b:c/>", XmlError::Name { at: 0 }),
        ("tag in name", b"<x<y/>", XmlError::Name { at: 0 }),
        ("attribute twice", b"<x a='1' a='2'/>", XmlError::Attribute { at: 0 }),
        ("attribute without value", b"<x a/>", XmlError::Attribute { at: 0 }),
        ("attribute without quotes", b"<x a=1/>", XmlError::Attribute { at: 0 }),
        ("tag in value", b"<x a='<'/>", XmlError::Attribute { at: 0 }),
        ("entity in value", b"<x a='&b;'/>", XmlError::Reference { at: 0 }),
        ("NUL reference in value", b"<x a='&#0;'/>", XmlError::Reference { at: 0 }),
    ];
    for (name, body, fault) in cases {
        assert_eq!(decode(body), Err(fault.clone()), "{name}");
        assert!(!fault.to_string().is_empty() && fault.as_bad_parameter().is_none());
    }
}

#[test]
fn positions_count_the_byte_order_mark_and_leading_layout() {
    assert_eq!(decode(b"\xef\xbb\xbf \n<x>&y;</x>"), Err(XmlError::Reference { at: 8 }));
}

#[test]
fn the_limits_themselves_are_still_inside() {
    assert!(decode(nested(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(decode(nested(DEPTH_MAX + 1).as_bytes()), Err(XmlError::TooDeep { at: 3 * DEPTH_MAX }));
    assert!(decode(attributes(ATTRIBUTES_MAX).as_bytes()).is_ok());
    assert_eq!(decode(attributes(ATTRIBUTES_MAX + 1).as_bytes()), Err(XmlError::TooManyAttributes { at: 0 }));
    let mut body = "<x/>".to_owned();
    body.push_str(&" ".repeat(BODY_BYTES_MAX - body.len()));
    assert!(decode(body.as_bytes()).is_ok());
    body.push(' ');
    assert_eq!(decode(body.as_bytes()), Err(XmlError::TooLarge { bytes: BODY_BYTES_MAX + 1 }));
}

#[test]
fn a_tree_gives_names_and_text_without_prefixes() {
    let body =
        b"<a:Start xmlns:a='urn:s' xmlns='urn:t'><a:info>\n <id>x</id> <id>y</id>\n</a:info><t> 5 </t></a:Start>";
    let tree = Tree::parse(body).expect("well-formed");
    let root = tree.root();
    assert_eq!((tree.namespace(), root.name()), ("urn:s", "Start"));
    let info = root.child("info").expect("there");
    assert_eq!(info.children().map(|id| id.text().into_owned()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(info.text(), "xy");
    let t = root.child("t").expect("there");
    assert_eq!((t.text(), t.word()), (" 5 ".into(), "5".into()));
    assert_eq!(root.descendant("id").map(|id| id.text().into_owned()), Some("x".to_owned()));
    assert!(root.child("id").is_none() && info.descendant("t").is_none());
}
