use super::*;
use crate::config::{LogFormat, Severity, Transport};

const SAMPLE: &str = r#"
[node]
id = 1
data_dir = "data"
[sip]
fqdn = "rccgw.contoso.com"
listen = ["tcp://127.0.0.1:5060"]
trusted_peers = ["127.0.0.1"]
[[cti]]
name = "cm1"
address = "csta://127.0.0.1:8800"
[[user]]
sip = "sip:alice@contoso.com"
line = "tel:+14255550101;ext=5101"
device = "5101"
licensed = true
"#;

/// `key rule` of each problem, one a line.
fn found(text: &str) -> String {
    let problems = examine(text).problems;
    problems.iter().map(|problem| format!("{} {}\n", problem.key, problem.rule)).collect()
}

fn with(more: &str) -> String {
    found(&format!("{SAMPLE}\n{more}"))
}

/// The sample with a line put under its `[sip]`.
fn with_sip(line: &str) -> String {
    found(&SAMPLE.replace("[sip]", &format!("[sip]\n{line}")))
}

#[test]
fn the_sample_file_is_taken_and_the_rest_are_defaults() {
    let config = check(SAMPLE).expect("good");
    assert_eq!(config.user[0].line, "tel:+14255550101;ext=5101");
    assert_eq!(config.cti[0].address.to_string(), "csta://127.0.0.1:8800");
    assert_eq!(config.sip.transport(), Transport::Tcp);
    let sip = crate::config::Sip { trusted_peers: config.sip.trusted_peers.clone(), ..Default::default() };
    assert_eq!(crate::config::Sip { fqdn: sip.fqdn.clone(), ..config.sip }, sip);
    assert_eq!((sip.session_expires_s, sip.min_se_s, sip.keepalive_s, sip.event_wait_ms), (1800, 90, 60, 3000));
    assert_eq!(config.log.format, LogFormat::Auto);
}

#[test]
fn the_embedded_configuration_would_pass_its_own_check() {
    let config = Config::embedded();
    assert_eq!(cross::check(&config, &Lines::default(), &[]), []);
    assert_eq!(config.user[0].line, "tel:+14255550101;ext=5101");
    assert_eq!(config.user[19].device, "5120");
    assert!(config.sip.listen.iter().all(|address| address.is_loopback()));
}

#[test]
fn the_reference_names_every_key_and_its_defaults_are_taken() {
    let reference = reference();
    for key in Config::keys("") {
        let name = key.path.rsplit('.').next().unwrap_or_default();
        assert!(key.is_table || reference.contains(&format!("#{name} =")), "{}", key.path);
        assert!(key.is_table || !key.doc.is_empty(), "{} has no documentation", key.path);
    }
    let as_default = |line: &str| match line.strip_prefix('#') {
        Some(value) if !value.starts_with([' ', '[']) && !value.ends_with('=') => value.to_owned() + "\n",
        _ if line.starts_with('[') => line.to_owned() + "\n",
        _ => String::new(),
    };
    let mut text: String = reference.split("#[[").next().unwrap_or_default().lines().map(as_default).collect();
    text.push_str("[[cti]]\nname = \"cm1\"\naddress = \"csta://127.0.0.1:8800\"\n");
    let config = check(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    assert_eq!(config.sip, crate::config::Sip::default());
}

#[test]
fn unknown_keys_are_faults_that_name_the_nearest_one() {
    let checked =
        examine(&format!("{SAMPLE}\n[sipp]\nfqdn = \"a\"\n[log]\nlevl = \"info\"\nkeepalive_s = 5\nzzz = 1\n"));
    let told: Vec<_> = checked.problems.iter().map(|p| (p.key.as_str(), p.line, p.remedy.as_str())).collect();
    assert_eq!(
        told,
        [
            ("sipp", Some(18), "did you mean `sip`?"),
            ("log.levl", Some(21), "did you mean `level`?"),
            ("log.keepalive_s", Some(22), "did you mean `sip.keepalive_s`?"),
            ("log.zzz", Some(23), "remove it; the keys here are format, level"),
        ]
    );
}

#[test]
fn secrets_in_the_file_are_refused_and_not_repeated() {
    let checked = examine(&SAMPLE.replace("name = \"cm1\"", "name = \"cm1\"\npassword = \"hunter2\""));
    assert_eq!(checked.problems.len(), 1);
    assert_eq!(checked.problems[0].rule, "secret_in_file");
    assert!(!format!("{checked:?}").contains("hunter2"));
}

#[test]
fn bounds_hold_at_both_ends() {
    for good in ["keepalive_s = 0", "keepalive_s = 1199", "session_expires_s = 1_800", "event_wait_ms = 0x7d0"] {
        assert_eq!(with_sip(good), "", "{good}");
    }
    for bad in ["keepalive_s = 1200", "keepalive_s = -1", "keepalive_s = 99999999999999999999"] {
        assert_eq!(with_sip(bad), "sip.keepalive_s range\n", "{bad}");
    }
    for bad in ["keepalive_s = \"60\"", "keepalive_s = 60.0", "keepalive_s = true", "keepalive_s = []"] {
        assert_eq!(with_sip(bad), "sip.keepalive_s type\n", "{bad}");
    }
    assert_eq!(with_sip("min_se_s = 1801"), "sip.min_se_s session_times\n");
}

#[test]
fn a_ninth_link_is_refused_by_its_name() {
    let link = |n: usize| format!("[[cti]]\nname = \"cm{n}\"\naddress = \"csta://10.0.0.{n}:8800\"\n");
    let eight: String = (2..=8).map(link).collect();
    assert_eq!(with(&eight), "");
    let checked = examine(&format!("{SAMPLE}\n{eight}{}", link(9)));
    assert_eq!(checked.problems.len(), 1);
    assert_eq!(checked.problems[0].key, "cti[8].name");
    assert_eq!(checked.problems[0].value.as_deref(), Some("\"cm9\""));
    assert!(checked.problems[0].line.is_some());
}

#[test]
fn links_have_names_of_their_own_and_credentials_where_asked() {
    let link = |more: &str| format!("[[cti]]\nname = \"cm2\"\naddress = \"csta://10.0.0.2:8800\"\n{more}\n");
    assert_eq!(with(&link("").replace("cm2", "CM1")), "cti[1].name link_name_twice\n");
    assert_eq!(with(&link("").replace("10.0.0.2", "127.0.0.1")), "cti[1].address link_address_twice\n");
    assert_eq!(
        with(&link("").replace("csta:", "dmcc:")),
        "cti[1].password_file no_credentials\ncti[1].switch_name no_credentials\ncti[1].user no_credentials\n"
    );
    let credentials = "user = \"svc\"\nswitch_name = \"cm\"\npassword_env = \"PW\"";
    assert_eq!(with(&link(credentials).replace("csta:", "dmcc:")), "");
    assert_eq!(with(&link("password_env = \"A\"\npassword_file = \"b\"")), "cti[1].password_env two_passwords\n");
    assert_eq!(with(&link("backoff_min_ms = 2000\nbackoff_max_ms = 1000")), "cti[1].backoff_min_ms backoff\n");
    assert_eq!(with(&link("").replace("cm2", &"c".repeat(65))), "cti[1].name form\n");
    assert_eq!(found("[sip]\n"), "cti no_link\n");
    assert_eq!(found("[lab]\nembedded_pbx = true\n"), "");
    assert_eq!(with("[[cti]]\naddress = \"csta://10.0.0.2:8800\""), "cti[1].name missing\n");
    assert_eq!(with("[[cti]]\nname = \"cm2\"\naddress = \"10.0.0.2\""), "cti[1].address form\n");
}

#[test]
fn listeners_and_peers_must_fit_together() {
    let sip = |lines: &str| {
        let head = "[[cti]]\nname = \"cm1\"\naddress = \"csta://127.0.0.1:8800\"\n[sip]\n";
        found(&format!("{head}{lines}\n"))
    };
    assert_eq!(sip("listen = []"), "sip.listen no_listener\n");
    assert_eq!(sip("listen = [\"tcp://0.0.0.0:5060\"]\ntrusted_peers = []"), "sip.trusted_peers no_trusted_peers\n");
    assert_eq!(sip("trusted_peers = []"), "", "loopback only");
    assert_eq!(sip("listen = [\"tcp://a:1\", \"tcp://a:1\"]"), "sip.listen[1] listener_twice\n");
    assert_eq!(sip("listen = [\"tcp://a:1\", \"tcp://0.0.0.0:1\"]"), "sip.listen[1] listener_twice\n");
    assert_eq!(sip("listen = [\"tcp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]"), "");
    assert_eq!(
        sip("listen = [\"tls://127.0.0.1:1\"]"),
        "sip.tls.ca no_certificate\nsip.tls.cert no_certificate\nsip.tls.key no_certificate\n"
    );
    let tls = "[sip.tls]\ncert = \"c\"\nkey = \"k\"\nca = \"a\"";
    let mtls = |names: &str| sip(&format!("listen = [\"mtls://0.0.0.0:1\"]\n{names}\n{tls}"));
    assert_eq!(mtls(""), "sip.peer_names no_peer_names\n");
    assert_eq!(mtls("peer_names = [\"*.contoso.com\"]"), "");
    assert_eq!(mtls("peer_names = [\"*\"]"), "sip.peer_names[0] every_certificate\n");
    assert_eq!(sip("balancers = [\"10.0.0.0/24\"]"), "sip.balancers[0] form\n");
    let overlap = "listen = [\"tcp://10.0.0.1:5060\"]\ntrusted_peers = [\"10.0.0.0/24\"]\nbalancers = [\"10.0.0.9\"]";
    assert_eq!(sip(overlap), "sip.balancers[0] balancer_is_peer\n");
    assert_eq!(sip("trusted_peers = [\"0.0.0.0/0\"]"), "sip.trusted_peers[0] everybody_trusted\n");
    assert_eq!(sip("fqdn = \"not a host\""), "sip.fqdn form\n");
    assert_eq!(
        sip("trusted_peers = [\"10.0.0.5/8\", \"10.0.0.1\", \"x\"]"),
        "sip.trusted_peers[0] form\nsip.trusted_peers[2] form\n"
    );
    assert_eq!(sip("contact_port = 0"), "sip.contact_port range\n");
    assert_eq!(sip("contact_user = \"a b\""), "sip.contact_user form\n");
    assert_eq!(sip("[sip.tls]\nmin_version = \"1.0\""), "sip.tls.min_version old_tls\n");
    assert_eq!(sip("[sip.limits]\nflows_max = 255"), "sip.limits.flows_per_peer_max flow_limits\n");
}

#[test]
fn a_line_that_is_no_toml_is_told_with_its_place_and_the_rest_is_still_checked() {
    let checked = examine("[sip]\nfqdn = \nkeepalive_s = 1200\n[log]\nlevel = \"loud\"\n");
    let told: Vec<_> = checked.problems.iter().map(|p| (p.key.as_str(), p.line, p.rule)).collect();
    assert_eq!(told, [("", Some(2), "syntax"), ("sip.keepalive_s", Some(3), "range"), ("log.level", Some(5), "form"),]);
}

#[test]
fn warnings_alone_do_not_refuse_a_file() {
    let text = SAMPLE.replace("[\"127.0.0.1\"]", "[\"0.0.0.0/0\"]");
    assert!(check(&text).is_ok());
    assert_eq!(examine(&text).problems[0].severity, Severity::Warning);
}

#[test]
fn the_longest_matching_profile_holds() {
    let text =
        "[[profile]]\nuser_agent = \"UCCAPI/\"\n[[profile]]\nuser_agent = \"UCCAPI/4.0\"\nservice_initiated = false\n";
    let config = check(&format!("{SAMPLE}\n{text}")).expect("good");
    assert!(!config.profile_for("UCCAPI/4.0.7577.314 OC/4.0").service_initiated);
    assert!(config.profile_for("UCCAPI/15.0").service_initiated);
    assert_eq!(config.profile_for("RTC/1.3"), Default::default());
    assert_eq!(with("[[profile]]\nuser_agent = \"A\"\nrefresh_grace_s = 3601"), "profile[0].refresh_grace_s range\n");
    assert_eq!(
        with("[[profile]]\nuser_agent = \"A\"\n[[profile]]\nuser_agent = \"A\""),
        "profile[1].user_agent profile_twice\n"
    );
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("lyncpin.toml");
    std::fs::write(&path, format!("\u{feff}{SAMPLE}\n[users]\nfile = \"users.csv\"\n")).expect("write");
    let checked = load(&path);
    assert_eq!(checked.problems, []);
    assert_eq!(checked.config.users.file, Some(folder.path().join("users.csv")));
    assert_eq!(checked.config.node.data_dir, folder.path().join("data"));
    assert_eq!(load(&folder.path().join("absent.toml")).problems[0].rule, "unreadable");
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(text in "(\\[+[a-z.]{0,6}\\]+|[a-z_.]{1,8} ?= ?[-\"a-z0-9\\[\\]{}]{0,8}|.{0,10}|\n){0,12}") {
        let _ = examine(&text);
    }
}

#[test]
fn the_voters_of_a_pair_are_checked_together() {
    let voter = |id: u32, address: &str, role: &str| {
        format!("[[cluster.voter]]\nid = {id}\naddress = \"{address}\"\nrole = \"{role}\"\n")
    };
    let three = voter(1, "127.0.0.1:7401", "data")
        + &voter(2, "127.0.0.1:7402", "data")
        + &voter(3, "127.0.0.1:7403", "witness");
    assert_eq!(with(&three), "");
    assert_eq!(with(&three.replace("id = 1\n", "id = 4\n")), "node.id not_a_voter\n");
    assert_eq!(with(&three.replace("id = 2\n", "id = 3\n")), "cluster.voter[2].id voter_twice\n");
    assert_eq!(with(&three.replace("id = 3\n", "id = 300\n")), "cluster.voter[2].id range\n");
    assert_eq!(with(&three.replace("7402", "7401")), "cluster.voter[1].address voter_address_twice\n");
    assert!(with(&three.replace("127.0.0.1:7402", "7402")).ends_with("cluster.voter[1].address form\n"));
    assert_eq!(with(&three.replace("\"data\"", "\"witness\"")), "cluster.voter no_data_node\n");
    let two = voter(1, "127.0.0.1:7401", "data") + &voter(2, "127.0.0.1:7402", "data");
    assert_eq!(with(&two), "cluster.voter no_witness\n");
    assert_eq!(
        with(&format!("[cluster]\naccept_manual_failover = true\n{two}")),
        "cluster.accept_manual_failover manual_failover\n",
        "a warning that says what it means"
    );
    let far = three.replace("127.0.0.1:7402", "10.0.0.2:7402");
    let no_tls = ["ca", "cert", "key"].map(|name| format!("cluster.tls.{name} voters_without_tls\n")).concat();
    assert_eq!(with(&far), no_tls);
    let tls = "[cluster.tls]\ncert = \"a\"\nkey = \"b\"\nca = \"c\"\n";
    assert_eq!(with(&(far + tls)), "");
}

#[test]
fn a_witness_needs_no_call_manager() {
    let witness = "[node]\nid = 3\n[[cluster.voter]]\nid = 1\naddress = \"127.0.0.1:7401\"\n[[cluster.voter]]\nid = 3\n\
                   address = \"127.0.0.1:7403\"\nrole = \"witness\"\n[cluster]\naccept_manual_failover = true\n";
    assert_eq!(found(witness), "cluster.accept_manual_failover manual_failover\n");
}
