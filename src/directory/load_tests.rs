use std::path::PathBuf;

use super::*;
use crate::machine::refusal::Refusal;

/// A configuration whose users file is this text, in a folder that lives as long as the first element.
fn with_file(name: &str, text: impl AsRef<[u8]>) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("write");
    (folder, config(Some(path)))
}

fn config(file: Option<PathBuf>) -> Config {
    let mut config = Config::embedded();
    config.user.truncate(1);
    config.users.file = file;
    config
}

fn users(name: &str, text: impl AsRef<[u8]>) -> Vec<Appearance> {
    let (_folder, config) = with_file(name, text);
    let loaded = load(&config, &Lines::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    loaded.directory.iter().skip(1).map(Appearance::from).collect()
}

/// `line:column key rule` of each problem.
fn problems(name: &str, text: impl AsRef<[u8]>) -> Vec<String> {
    let (_folder, config) = with_file(name, text);
    let problems = load(&config, &Lines::default()).map(|loaded| loaded.warnings).unwrap_or_else(|problems| problems);
    let place = |at: Option<usize>| at.map(|at| at.to_string()).unwrap_or_default();
    let told = |p: &Problem| format!("{}:{} {} {}", place(p.line), place(p.column), p.key, p.rule);
    problems.iter().map(told).collect()
}

#[test]
fn columns_stand_in_any_order_and_blanks_byte_order_marks_and_comments_are_taken() {
    let text = "\u{feff}Device, LICENSED ,sip,line,partition\r\n# remark\r\n\r\n\
                5102,,sip:bob@contoso.com,\"tel:+14255550102;ext=5102\",\r\n\
                SEP3,No,sip:carol@contoso.com,tel:73124,BE_INT\r\n";
    let bob = Appearance::new("sip:bob@contoso.com", "tel:+14255550102;ext=5102", "5102");
    let mut carol = Appearance::new("sip:carol@contoso.com", "tel:73124", "SEP3");
    (carol.licensed, carol.partition) = (false, Some("BE_INT".into()));
    assert_eq!(users("users.csv", text), [bob.clone(), carol]);
    assert_eq!(users("users.csv", "sip,line,device\nsip:bob@contoso.com,tel:+14255550102;ext=5102,5102"), [bob]);
    assert_eq!(users("users.csv", "sip,line,device\n"), []);
}

#[test]
fn every_wrong_line_of_a_csv_file_is_told_with_line_and_column() {
    let mut text =
        b"sip,line,device,licensed\nbob,5102,,maybe\nsip:bob@c.com,tel:1-800-FLOWERS,\nbob,5102,5102,\n".to_vec();
    text.extend(b"sip:alice@contoso.com,tel:+14255550101;ext=5101,5101,true\nsip:\xff@c.com,tel:1,1,1\n");
    assert_eq!(
        problems("users.csv", &text),
        [
            "2:4 licensed csv_licensed",
            "3: entry csv_fields",
            "4:1 sip sip_address",
            "4:2 line line_uri",
            "6:1 sip csv_text"
        ]
    );
    let twice = "sip,line,device\nsip:alice@contoso.com,tel:+14255550101;ext=5101,5101\nsip:b@c.com,tel:1,\n";
    assert_eq!(
        problems("users.csv", twice),
        ["3:3 device no_device"],
        "duplicates are looked for in good entries only"
    );
    let twice = "sip,line,device\nsip:alice@contoso.com,tel:+14255550101;ext=5101,5101\n";
    assert_eq!(problems("users.csv", twice), ["2: entry user_twice"]);
}

#[test]
fn a_wrong_header_is_told_instead_of_every_line() {
    assert_eq!(
        problems("users.csv", "sip,lien,device,sip\na,b,c,d\n"),
        ["1: header csv_header", "1:2 header csv_column", "1:4 header csv_column_twice"]
    );
    assert_eq!(problems("users.csv", ""), ["1: header csv_header"]);
    assert_eq!(problems("users.csv", "sip;line;device\n").len(), 4);
}

#[test]
fn users_files_may_be_toml_and_nothing_else() {
    let user = "[[user]]\nsip = \"sip:bob@contoso.com\"\nline = \"tel:+14255550102\"\ndevice = \"5102\"\n";
    assert_eq!(users("users.toml", user), [Appearance::new("sip:bob@contoso.com", "tel:+14255550102", "5102")]);
    assert_eq!(problems("users.toml", format!("{user}licenced = true\n")), ["5: user[0].licenced unknown_key"]);
    assert!(problems("users.toml", user.replace("sip:bob", "bob")).is_empty(), "an address of record will do");
    assert_eq!(problems("users.toml", user.replace("tel:", "")), ["3: user[0].line line_uri"]);
    assert_eq!(users("users.toml", user.replace("5102\"\n", " 5102 \"\n"))[0].device, "5102", "blanks around are cut");
    assert_eq!(problems("users.txt", user), [": users.file users_file_kind"]);
}

#[test]
fn a_file_that_is_absent_too_long_or_holds_too_many_users_is_a_fault() {
    let absent = load(&config(Some("absent.csv".into())), &Lines::default()).expect_err("absent");
    assert_eq!(absent[0].rule, "unreadable");
    let text = "sip,line,device\nsip:a@c.com,tel:1,1\nsip:b@c.com,tel:2,2\n";
    let (_folder, mut config) = with_file("users.csv", text);
    config.users.users_max = 2;
    let problems = load(&config, &Lines::default()).expect_err("three users");
    assert_eq!((problems[0].rule, problems[0].line), ("too_many_users", Some(3)));
    config.users.users_max = 3;
    assert!(load(&config, &Lines::default()).is_ok());
    config.users.file_bytes_max = text.len() - 1;
    assert_eq!(load(&config, &Lines::default()).expect_err("too long")[0].rule, "too_long");
    config.users.file_bytes_max = text.len();
    assert!(load(&config, &Lines::default()).is_ok());
}

#[test]
fn two_users_on_one_station_are_a_warning_that_names_both() {
    let (_folder, config) = with_file("users.csv", "sip,line,device\nsip:bob@contoso.com,tel:2,5101\n");
    let loaded = load(&config, &Lines::default()).expect("usable");
    assert_eq!(loaded.warnings.len(), 1);
    let warning = &loaded.warnings[0];
    assert!(!warning.is_fault());
    assert!(warning.allowed.starts_with("sip:bob@contoso.com and sip:alice@contoso.com"), "{}", warning.allowed);
    let device = loaded.directory.appearance("sip:bob@contoso.com", None).map(|found| found.device);
    assert_eq!(device, Ok("5101".to_owned()));
}

#[test]
fn users_of_both_places_are_found() {
    let (_folder, config) = with_file("users.csv", "sip,line,device,licensed\nsip:bob@contoso.com,tel:2,5102,no\n");
    let directory = load(&config, &Lines::default()).expect("good").directory;
    assert!(directory.appearance("sip:alice@contoso.com", None).is_ok());
    assert_eq!(directory.appearance("sip:bob@contoso.com", None), Err(Refusal::NoClientLicense));
}

#[test]
fn a_spreadsheet_gone_wrong_is_told_in_part() {
    let text = format!("sip,line,device\n{}", "x,y,\n".repeat(5000));
    let problems = problems("users.csv", text);
    assert_eq!(problems.len(), PROBLEMS_MAX);
}

proptest::proptest! {
    #[test]
    fn any_csv_is_answered(text in "(sip|line|device|licensed|[,;\"\n]|[a-z:@.0-9]{0,6}){0,30}") {
        let _ = csv::read(text.as_bytes(), &"users.csv".into(), 100, 100);
    }
}
