//! Checks across keys: what each key allows is not enough where two must fit together.

use std::collections::HashMap;

use super::address::Security;
use super::cti::LINKS_MAX;
use super::problem::Problem;
use super::profile::PROFILES_MAX;
use super::reader::Lines;
use super::sip::TlsVersion;
use super::{Config, Cti, Dialect, ListenAddress};

/// Bytes of a link's name, as logs and counters carry it.
const NAME_BYTES_MAX: usize = 64;

/// Addresses a node listens on.
const LISTENERS_MAX: usize = 16;

/// What does not fit together. A key that is at fault already is left alone.
pub(super) fn check(config: &Config, lines: &Lines, told: &[Problem]) -> Vec<Problem> {
    let mut found = Vec::new();
    listeners(config, &mut found);
    peers(config, &mut found);
    tls(config, &mut found);
    links(config, &mut found);
    super::voters::check(config, &mut found);
    super::admin::check(config, &mut found);
    bounds(config, &mut found);
    profiles(config, &mut found);
    found.retain(|problem| !told.iter().any(|other| other.is_fault() && is_within(&other.key, &problem.key)));
    for problem in &mut found {
        problem.line = problem.line.or_else(|| lines.of(&problem.key));
    }
    found
}

/// Whether a fault told at `told` is at this key, or below it.
fn is_within(told: &str, key: &str) -> bool {
    told.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn listeners(config: &Config, found: &mut Vec<Problem>) {
    let listen = &config.sip.listen;
    if listen.is_empty() {
        let problem = Problem::fault("no_listener", "sip.listen").value("[]").allowed("a node listens somewhere");
        found.push(problem.remedy("add an address, e.g. \"tcp://127.0.0.1:5060\""));
    }
    for (n, address) in listen.iter().enumerate().skip(LISTENERS_MAX) {
        found.push(
            Problem::fault("too_many_listeners", format!("sip.listen[{n}]"))
                .value(format!("{:?}", address.to_string()))
                .allowed(format!("at most {LISTENERS_MAX} addresses are listened on"))
                .remedy("remove some"),
        );
    }
    for (n, address) in listen.iter().enumerate().take(LISTENERS_MAX) {
        if let Some(first) = listen[..n].iter().position(|other| collide(address, other)) {
            found.push(
                Problem::fault("listener_twice", format!("sip.listen[{n}]"))
                    .value(format!("{:?}", address.to_string()))
                    .allowed(format!("sip.listen[{first}] listens there already ({})", listen[first]))
                    .remedy("remove one of the two, or give it another port"),
            );
        }
    }
}

/// Whether the second bind would fail: the same port on the same address, or on all.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    let is_all = |host: &str| host == "0.0.0.0" || host == "::";
    one.port == other.port && one.port != 0 && (one.host == other.host || is_all(&one.host) || is_all(&other.host))
}

fn peers(config: &Config, found: &mut Vec<Problem>) {
    let sip = &config.sip;
    let exposed = sip.listen.iter().find(|address| !address.is_loopback());
    if let Some(exposed) = exposed.filter(|_| sip.trusted_peers.is_empty()) {
        found.push(
            Problem::fault("no_trusted_peers", "sip.trusted_peers")
                .value("[]")
                .allowed(format!("{exposed} can be reached from outside, so those who may connect must be named"))
                .remedy("name the addresses or networks of the front ends"),
        );
    }
    for (n, network) in sip.trusted_peers.iter().enumerate().filter(|(_, network)| network.is_everything()) {
        found.push(
            Problem::warning("everybody_trusted", format!("sip.trusted_peers[{n}]"))
                .value(format!("{:?}", network.to_string()))
                .allowed("this lets everybody connect")
                .remedy("name the front ends' addresses or networks"),
        );
    }
    for (n, balancer) in sip.balancers.iter().enumerate().filter(|_| exposed.is_some()) {
        if let Some(peer) = sip.trusted_peers.iter().find(|peer| peer.contains(*balancer) && !peer.is_everything()) {
            found.push(
                Problem::warning("balancer_is_peer", format!("sip.balancers[{n}]"))
                    .value(format!("{:?}", balancer.to_string()))
                    .allowed(format!("sip.trusted_peers holds {peer} too; from a balancer a PROXY header is required"))
                    .remedy("take it out of one of the two, unless the balancer's own health checks need it in both"),
            );
        }
    }
    let mtls = sip.listen.iter().find(|address| address.security == Security::Mtls);
    if let Some(address) = mtls.filter(|_| sip.peer_names.is_empty()) {
        found.push(
            Problem::fault("no_peer_names", "sip.peer_names")
                .value("[]")
                .allowed(format!("{address} asks who connects, and nobody is named"))
                .remedy("name the front ends as their certificates do, e.g. peer_names = [\"fe01.contoso.com\"]"),
        );
    }
    if let Some(n) = sip.peer_names.iter().position(|name| name.is_everybody()) {
        found.push(
            Problem::warning("every_certificate", format!("sip.peer_names[{n}]"))
                .value("\"*\"")
                .allowed("every certificate the CA vouches for may connect")
                .remedy("name the front ends as their certificates do"),
        );
    }
}

fn tls(config: &Config, found: &mut Vec<Problem>) {
    let (listen, tls) = (&config.sip.listen, &config.sip.tls);
    if let Some(address) = listen.iter().find(|address| address.security.is_secure()) {
        let files = [
            ("cert", &tls.cert, "needs a certificate"),
            ("key", &tls.key, "needs its certificate's key"),
            ("ca", &tls.ca, "means TLS towards front ends, and somebody must vouch for them"),
        ];
        for (name, _, why) in files.into_iter().filter(|(_, path, _)| path.is_none()) {
            found.push(
                Problem::fault("no_certificate", format!("sip.tls.{name}"))
                    .allowed(format!("{address} {why}"))
                    .remedy(format!("name the PEM file: {name} = \"{name}.pem\"")),
            );
        }
    }
    if tls.min_version < TlsVersion::Tls12 && !tls.legacy {
        found.push(
            Problem::fault("old_tls", "sip.tls.min_version")
                .value(format!("{:?}", tls.min_version.word()))
                .allowed("versions below \"1.2\" are spoken by OpenSSL only")
                .remedy("set legacy = true beside it, or ask for \"1.2\""),
        );
    }
    if let Some(ciphers) = tls.legacy_ciphers.as_ref().filter(|_| !tls.legacy) {
        found.push(
            Problem::fault("ciphers_without_legacy", "sip.tls.legacy_ciphers")
                .value(format!("{ciphers:?}"))
                .allowed("the list is read with legacy = true only")
                .remedy("set legacy = true beside it, or remove the list"),
        );
    }
    if tls.legacy && !cfg!(feature = "legacy-tls") {
        found.push(
            Problem::fault("no_legacy_build", "sip.tls.legacy")
                .value("true")
                .allowed("this program was built without OpenSSL")
                .remedy("use a build with the feature legacy-tls, or set legacy = false"),
        );
    }
}

fn links(config: &Config, found: &mut Vec<Problem>) {
    if config.cti.is_empty() && !config.lab.embedded_pbx && !config.is_witness() {
        found.push(
            Problem::fault("no_link", "cti")
                .allowed("without a CTI link nobody can be served")
                .remedy("add a [[cti]] table with name and address, or set embedded_pbx = true in [lab] to try out"),
        );
    }
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut by_address: HashMap<String, usize> = HashMap::new();
    for (n, link) in config.cti.iter().enumerate() {
        let key = |name: &str| format!("cti[{n}].{name}");
        if n >= LINKS_MAX {
            found.push(
                Problem::fault("too_many_links", key("name"))
                    .value(format!("{:?}", link.name))
                    .allowed(format!("at most {LINKS_MAX} CTI links are held, this is number {}", n + 1))
                    .remedy("remove this [[cti]] table or another one"),
            );
        }
        if link.name.len() > NAME_BYTES_MAX || link.name.chars().any(char::is_control) {
            found.push(
                Problem::fault("form", key("name"))
                    .value(format!("{:?}", link.name))
                    .allowed(format!("a name has at most {NAME_BYTES_MAX} bytes and no control characters"))
                    .remedy("shorten it"),
            );
        }
        let first = *by_name.entry(link.name.to_lowercase()).or_insert(n);
        if first < n && !link.name.is_empty() {
            found.push(
                Problem::fault("link_name_twice", key("name"))
                    .value(format!("{:?}", link.name))
                    .allowed(format!("cti[{first}] is called so already"))
                    .remedy("give each link a name of its own"),
            );
        }
        let first = *by_address.entry(link.address.to_string()).or_insert(n);
        if first < n && !link.address.host.is_empty() {
            found.push(
                Problem::warning("link_address_twice", key("address"))
                    .value(format!("{:?}", link.address.to_string()))
                    .allowed(format!("cti[{first}] goes there already"))
                    .remedy("a second link to one address helps nothing; name another call-manager node"),
            );
        }
        credentials(link, key, found);
        if link.backoff_min_ms > link.backoff_max_ms {
            found.push(
                Problem::fault("backoff", key("backoff_min_ms"))
                    .value(link.backoff_min_ms.to_string())
                    .allowed(format!("the first pause cannot be longer than backoff_max_ms = {}", link.backoff_max_ms))
                    .remedy("lower it, or raise backoff_max_ms"),
            );
        }
    }
}

fn credentials(link: &Cti, key: impl Fn(&str) -> String, found: &mut Vec<Problem>) {
    if link.password_file.is_some() && link.password_env.is_some() {
        found.push(
            Problem::fault("two_passwords", key("password_env"))
                .value(format!("{:?}", link.password_env.as_deref().unwrap_or_default()))
                .allowed("the password is in a file or in the environment, not both")
                .remedy("remove password_file or password_env"),
        );
    }
    let has_password = link.password_file.is_some() || link.password_env.is_some();
    let needed = [
        ("user", link.user.is_some(), "asks who logs in"),
        ("switch_name", link.switch_name.is_some(), "asks which switch is meant"),
        ("password_file", has_password, "asks for a password; password_env will do as well"),
    ];
    for (name, _, why) in
        needed.into_iter().filter(|(_, is_given, _)| !is_given && link.address.dialect == Dialect::Dmcc)
    {
        found.push(
            Problem::fault("no_credentials", key(name))
                .allowed(format!("{} {why}", link.address))
                .remedy(format!("add a line `{name} = ...`")),
        );
    }
}

fn bounds(config: &Config, found: &mut Vec<Problem>) {
    let sip = &config.sip;
    if sip.min_se_s > sip.session_expires_s {
        found.push(
            Problem::fault("session_times", "sip.min_se_s")
                .value(sip.min_se_s.to_string())
                .allowed(format!("the shortest time taken cannot exceed session_expires_s = {}", sip.session_expires_s))
                .remedy("lower it, or raise session_expires_s"),
        );
    }
    if sip.limits.flows_per_peer_max > sip.limits.flows_max {
        found.push(
            Problem::fault("flow_limits", "sip.limits.flows_per_peer_max")
                .value(sip.limits.flows_per_peer_max.to_string())
                .allowed(format!("one peer cannot have more flows than all, flows_max = {}", sip.limits.flows_max))
                .remedy("lower it, or raise flows_max"),
        );
    }
    if sip.contact_port == Some(0) {
        let problem = Problem::fault("range", "sip.contact_port").value("0");
        found.push(problem.allowed("allowed is a port from 1 to 65535").remedy("leave the key out, or name the port"));
    }
    let is_token = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let words =
        [("sip.contact_user", &sip.contact_user, "-_.!~*'()&=+$,?/"), ("sip.phone_context", &sip.phone_context, "-.+")];
    for (key, text, more) in words.into_iter().filter(|(_, text, more)| !is_token(text, more)) {
        found.push(
            Problem::fault("form", key)
                .value(format!("{text:?}"))
                .allowed(format!("it stands in a URI: letters, digits and {more}"))
                .remedy("leave the other characters out"),
        );
    }
}

fn profiles(config: &Config, found: &mut Vec<Problem>) {
    let mut first_at: HashMap<&str, usize> = HashMap::new();
    for (n, profile) in config.profile.iter().enumerate() {
        let problem =
            |rule| Problem::fault(rule, format!("profile[{n}].user_agent")).value(format!("{:?}", profile.user_agent));
        if n == PROFILES_MAX {
            let problem = problem("too_many_profiles").allowed(format!("at most {PROFILES_MAX} profiles are held"));
            found.push(problem.remedy("remove some; the longest matching prefix wins"));
        }
        if let Some(grace_s) = profile.refresh_grace_s.filter(|grace_s| *grace_s > 3600) {
            found.push(
                Problem::fault("range", format!("profile[{n}].refresh_grace_s"))
                    .value(grace_s.to_string())
                    .allowed("allowed is a whole number from 0 to 3600")
                    .remedy("write such a value"),
            );
        }
        let first = *first_at.entry(&profile.user_agent).or_insert(n);
        if first < n {
            let problem = problem("profile_twice").allowed(format!("profile[{first}] has the same prefix"));
            found.push(problem.remedy("put both into one [[profile]] table"));
        }
    }
}
