use super::super::tel::NumberError;
use super::*;

const ALICE: &str = "sip:alice@contoso.com";
const LINE: &str = "tel:+14255550101;ext=5101";

fn directory(entries: &[(&str, &str, &str)]) -> Directory {
    Directory::new(entries.iter().map(|(sip, line, device)| Appearance::new(*sip, *line, *device))).expect("good")
}

fn device(directory: &Directory, sip: &str, line: Option<&str>) -> Result<String, Refusal> {
    directory.appearance(sip, line).map(|appearance| appearance.device)
}

#[test]
fn a_user_signs_in_on_the_line_in_any_spelling() {
    let directory = directory(&[(ALICE, LINE, "5101")]);
    for sip in [ALICE, "sip:alice@CONTOSO.com", "alice@contoso.com", "SIP:Alice@contoso.com:5061;transport=tls;gruu"] {
        for line in [LINE, "tel:+1-425-555-0101;EXT=5101", "TEL:+1 (425) 555.0101;isub=9;ext=51-01", LINE] {
            assert_eq!(device(&directory, sip, Some(line)), Ok("5101".into()), "{sip} {line}");
        }
        assert_eq!(device(&directory, sip, None), Ok("5101".into()));
        assert_eq!(device(&directory, sip, Some(" ")), Ok("5101".into()));
    }
}

#[test]
fn every_refusal_has_its_case() {
    let mut entries = vec![
        Appearance::new(ALICE, LINE, "5101"),
        Appearance::new("sip:bob@contoso.com", "tel:+14255550102;ext=5102", "5102"),
        Appearance::new("sip:dora@contoso.com", "tel:73124;phone-context=dialstring", "SEP0001"),
        Appearance::new("sip:dora@contoso.com", "tel:73124;phone-context=dialstring", "SEP0002"),
    ];
    entries.push(Appearance { licensed: false, ..Appearance::new("sip:carl@contoso.com", "tel:+14255550103", "5103") });
    let directory = Directory::new(entries).expect("good");
    let refusal = |sip: &str, line: Option<&str>| directory.appearance(sip, line).expect_err("refused");
    assert_eq!(refusal("sip:mallory@contoso.com", Some(LINE)), Refusal::UserUnknown);
    assert_eq!(refusal("not an address", Some(LINE)), Refusal::UserUnknown);
    assert_eq!(refusal(ALICE, Some("tel:+14255550102;ext=5102")), Refusal::LineNotAllowed);
    assert_eq!(refusal(ALICE, Some("tel:+14255550101;ext=5101;device=SEP9")), Refusal::LineNotAllowed);
    assert_eq!(refusal(ALICE, Some("tel:+14255550199")), Refusal::LineUnknown);
    assert_eq!(refusal(ALICE, Some("tel:+14255550101")), Refusal::LineUnknown, "the extension tells lines apart");
    assert_eq!(refusal(ALICE, Some("tel:vanity")), Refusal::LineUnknown);
    assert_eq!(refusal("sip:carl@contoso.com", None), Refusal::NoClientLicense);
    assert_eq!(refusal("sip:dora@contoso.com", None), Refusal::UserAmbiguous);
    assert_eq!(refusal("sip:dora@contoso.com", Some("tel:73124;phone-context=dialstring")), Refusal::UserAmbiguous);
}

#[test]
fn device_and_partition_parameters_choose_among_appearances_of_a_line() {
    // The spelling Cisco gives to a Line URI with several phones.
    let line = "tel:73124;phone-context=dialstring";
    let mut first = Appearance::new(ALICE, line, "SEP0001");
    first.partition = Some("BE_BRS_INT".into());
    let mut second = Appearance::new(ALICE, line, "SEP0002");
    second.partition = Some("BE_ANR_INT".into());
    let third = Appearance::new(ALICE, "tel:73125;phone-context=dialstring;device=SEP0003", "SEP0003");
    let directory = Directory::new([first, second, third]).expect("good");
    let find = |params: &str| device(&directory, ALICE, Some(&format!("{line}{params}")));
    assert_eq!(find(";device=sep0002"), Ok("SEP0002".into()));
    assert_eq!(find(";partition=BE_BRS_INT"), Ok("SEP0001".into()));
    assert_eq!(find(";device=SEP0002;partition=BE_ANR_INT"), Ok("SEP0002".into()));
    assert_eq!(find(";device=SEP0002;partition=BE_BRS_INT"), Err(Refusal::LineNotAllowed));
    assert_eq!(find(""), Err(Refusal::UserAmbiguous));
    assert_eq!(device(&directory, ALICE, Some("tel:73125;phone-context=dialstring")), Ok("SEP0003".into()));
    assert_eq!(
        device(&directory, ALICE, Some("tel:73125")),
        Err(Refusal::LineUnknown),
        "another context is another line"
    );
}

#[test]
fn the_verbatim_line_goes_before_a_like_one() {
    let directory = directory(&[(ALICE, LINE, "5101"), (ALICE, "tel:+1-425-555-0101;ext=5101", "5999")]);
    assert_eq!(device(&directory, ALICE, Some(LINE)), Ok("5101".into()));
    assert_eq!(device(&directory, ALICE, Some("tel:+1-425-555-0101;ext=5101")), Ok("5999".into()));
    assert_eq!(device(&directory, ALICE, Some("tel:+1.425.555.0101;ext=5101")), Err(Refusal::UserAmbiguous));
}

#[test]
fn users_that_differ_only_in_case_stay_two_users() {
    let directory = directory(&[(ALICE, LINE, "5101"), ("sip:Alice@contoso.com", "tel:+14255550102", "5102")]);
    assert_eq!(device(&directory, ALICE, None), Ok("5101".into()));
    assert_eq!(device(&directory, "sip:Alice@contoso.com", None), Ok("5102".into()));
    assert_eq!(device(&directory, "sip:ALICE@contoso.com", None), Err(Refusal::UserAmbiguous));
}

#[test]
fn devices_and_numbers_are_found_backwards() {
    let directory = directory(&[
        (ALICE, LINE, "5101"),
        ("sip:bob@contoso.com", "tel:+14255550100;ext=5102", "5102"),
        ("sip:carol@contoso.com", "tel:+14255550100;ext=5103", "5103"),
        ("sip:dave@contoso.com", "tel:+14255550104", "SEP0004"),
        ("sip:dave@contoso.com", "tel:+14255550104;ext=7", "5107"),
    ]);
    assert_eq!(directory.line_of_device("5101"), Some(LINE));
    assert_eq!(directory.line_of_device("sep0004"), Some("tel:+14255550104"));
    assert_eq!(directory.line_of_device("5199"), None);
    assert_eq!(directory.device_of_number("+1 425 555 0101"), Some("5101"));
    assert_eq!(directory.device_of_number("tel:+14255550100;ext=5103"), Some("5103"));
    assert_eq!(directory.device_of_number("+14255550100"), None, "two devices share it");
    assert_eq!(directory.device_of_number("+14255550104"), Some("SEP0004"), "the line without an extension");
    assert_eq!(directory.device_of_number("5102"), Some("5102"));
    assert_eq!(directory.device_of_number("SEP0004"), Some("SEP0004"));
    assert_eq!(directory.device_of_number("+14255550199"), None);
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = Directory::new([
        Appearance::new(ALICE, LINE, "5101"),
        Appearance::new("alice", "tel:+1-800-FLOWERS", " "),
        Appearance::new(ALICE, "5101", "5101"),
        Appearance::new("sip:b@contoso.com", "tel:5101", "5".repeat(513)),
    ])
    .expect_err("faults");
    let letter = Fault::Line(NumberError::Letter { letter: 'F', at: 12 });
    let expected = [
        (1, Fault::Sip),
        (1, letter),
        (1, Fault::DeviceEmpty),
        (2, Fault::LineScheme),
        (3, Fault::TooLong { field: "device", bytes: 513 }),
    ];
    assert_eq!(faults, expected.map(|(row, fault)| EntryFault { row, fault }));
}

#[test]
fn the_same_entry_twice_is_a_fault_and_a_shared_station_a_remark() {
    let twice = Directory::new([
        Appearance::new(ALICE, LINE, "SEP1"),
        Appearance::new("sip:alice@Contoso.Com", LINE, "sep1"),
        Appearance::new(ALICE, LINE, "SEP2"),
    ]);
    assert_eq!(twice.err(), Some(vec![EntryFault { row: 1, fault: Fault::Duplicate { first_row: 0 } }]));
    let shared = directory(&[(ALICE, LINE, "5101"), ("sip:bob@contoso.com", LINE, "5101"), (ALICE, "tel:1", "5101")]);
    assert_eq!(shared.shared_stations(), [SharedStation { first_row: 0, row: 1 }]);
}

#[test]
fn more_users_than_fit_are_refused() {
    let entry = |n: usize| Appearance::new(format!("sip:u{n}@contoso.com"), format!("tel:{n}"), n.to_string());
    let faults = Directory::new((0..=USERS_MAX).map(entry)).expect_err("one too many");
    assert_eq!(faults, [EntryFault { row: USERS_MAX, fault: Fault::TooMany }]);
}

#[test]
fn twenty_thousand_users_are_found_and_their_memory_is_told() {
    let entry = |n: usize| {
        let line = format!("tel:+1425555{n:05};ext={n:05}");
        Appearance::new(format!("sip:user{n:05}@contoso.com"), line, format!("{n:05}"))
    };
    let directory = Directory::new((10_001..30_001).map(entry)).expect("good");
    for n in (10_001..30_001).step_by(997) {
        let wanted = entry(n);
        assert_eq!(directory.appearance(&wanted.sip, Some(&wanted.line)), Ok(wanted.clone()));
        assert_eq!(directory.line_of_device(&wanted.device), Some(wanted.line.as_str()));
    }
    println!("{} users: {} bytes, {} a user", directory.len(), directory.heap_bytes(), directory.heap_bytes() / 20_000);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_lookup_panic(sip in ".{0,40}", line in ".{0,60}") {
        let directory = directory(&[(ALICE, LINE, "5101")]);
        let _ = directory.appearance(&sip, Some(&line));
        let _ = directory.device_of_number(&line);
        let _ = directory.line_of_device(&line);
    }
}
