//! One HTTP request to a node's admin listener.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, http::Response};

use super::{Ctl, Failed};
use crate::admin::OPERATOR_HEADER;
use crate::config::load;

const DEFAULT: &str = "http://127.0.0.1:8480";
/// A drain waits for PBX answers; a voter that is taken in may need a whole snapshot.
const WITHIN: Duration = Duration::from_secs(180);
const ANSWER_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

#[derive(Clone, Copy)]
pub enum Method {
    Post,
    Put,
    Delete,
}

pub struct Call {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Call {
    pub fn of(ctl: &Ctl) -> Result<Self, Failed> {
        let mut token = std::env::var("LYNCPIN_TOKEN").ok();
        let mut base = ctl.admin.clone();
        let mut authority = ctl.ca.clone();
        if let Some(path) = &ctl.config {
            let admin = load(path).config.admin;
            let address = admin.listen.first().ok_or_else(|| {
                Failed::Told(format!("{}: [admin] listen is empty, so this node cannot be asked", path.display()))
            })?;
            let scheme = if address.security.is_secure() { "https" } else { "http" };
            base.get_or_insert_with(|| format!("{scheme}://{}:{}", reachable(&address.host.to_string()), address.port));
            authority = authority.or(admin.cert);
            token = token.or_else(|| admin.secret_file.and_then(|file| token_in(&file)));
        }
        if let Some(file) = &ctl.token_file {
            let read = token_in(file);
            token = Some(read.ok_or_else(|| Failed::Told(format!("there is no token in {}", file.display())))?);
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = &authority {
            let unreadable = |why: String| Failed::Told(format!("{}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|why| unreadable(why.to_string()))?;
            let roots: Result<Vec<_>, _> = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
                    Ok(_) => None,
                    Err(why) => Some(Err(why)),
                })
                .collect();
            let roots: Vec<Certificate<'static>> = roots.map_err(|why| unreadable(why.to_string()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .timeout_global(Some(WITHIN))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let base = base.unwrap_or_else(|| DEFAULT.to_owned()).trim_end_matches('/').to_owned();
        Ok(Self { agent: config.into(), base, token })
    }

    pub fn get(&self, path: &str) -> Result<Value, Failed> {
        self.get_if_any(path)?.ok_or_else(|| Failed::Told(format!("{}{path} is not there", self.base)))
    }

    /// `None`: 404.
    pub fn get_if_any(&self, path: &str) -> Result<Option<Value>, Failed> {
        let mut response = self.fetch(path)?;
        match response.status().as_u16() {
            404 => Ok(None),
            _ => self.value(&mut response).map(Some),
        }
    }

    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Failed> {
        let mut response = self.fetch(path)?;
        if !response.status().is_success() {
            self.value(&mut response)?;
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        body.map_err(|why| Failed::Told(format!("the answer broke off: {why}")))
    }

    pub fn send(&self, method: Method, path: &str, body: &[u8]) -> Result<Value, Failed> {
        let url = format!("{}{path}", self.base);
        let operator = std::env::var("USER").unwrap_or_else(|_| "lyncpin ctl".to_owned());
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let sent = match method {
            Method::Post | Method::Put => {
                let request = if matches!(method, Method::Put) { self.agent.put(&url) } else { self.agent.post(&url) };
                let mut request = request.header(OPERATOR_HEADER, &operator);
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.send(body)
            }
            Method::Delete => {
                let mut request = self.agent.delete(&url).header(OPERATOR_HEADER, &operator);
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.call()
            }
        };
        self.value(&mut sent.map_err(|why| self.unreachable(&why))?)
    }

    /// An answer without an end, line by line.
    pub fn stream(&self, path: &str, body: &[u8]) -> Result<impl BufRead + use<>, Failed> {
        let operator = std::env::var("USER").unwrap_or_else(|_| "lyncpin ctl".to_owned());
        let mut request = self.agent.post(format!("{}{path}", self.base)).header(OPERATOR_HEADER, &operator);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(None).timeout_recv_response(Some(WITHIN)).build();
        let mut response = request.send(body).map_err(|why| self.unreachable(&why))?;
        if !response.status().is_success() {
            self.value(&mut response)?;
        }
        Ok(BufReader::new(response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    fn fetch(&self, path: &str) -> Result<Response<Body>, Failed> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|why| self.unreachable(&why))
    }

    fn unreachable(&self, why: &ureq::Error) -> Failed {
        Failed::Told(format!(
            "the node at {} cannot be asked: {why}. Does it run, and is this its [admin] listen? Name another one with --admin",
            self.base
        ))
    }

    fn value(&self, response: &mut Response<Body>) -> Result<Value, Failed> {
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|why| Failed::Told(format!("the answer broke off: {why}")))?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return value.ok_or_else(|| Failed::Told(format!("{} does not answer as a Lyncpin node does", self.base)));
        }
        let told = value.and_then(|value| value.get("error")?.as_str().map(str::to_owned)).unwrap_or(text);
        Err(Failed::Told(match status.as_u16() {
            401 => format!("{told}: name its file with --token-file, or set LYNCPIN_TOKEN"),
            _ => told,
        }))
    }
}

/// A token in its file; a hash is none.
fn token_in(file: &std::path::Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let first = text.lines().next()?.trim();
    (!first.is_empty() && !first.starts_with("$argon2")).then(|| first.to_owned())
}

/// A node that listens everywhere is reached here.
fn reachable(host: &str) -> String {
    match host {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        host => host.to_owned(),
    }
}

/// For a query.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_what_an_operator_types() {
        assert_eq!(escaped("tel:+1 425&max=0#ä"), "tel%3A%2B1%20425%26max%3D0%23%C3%A4");
    }

    #[test]
    fn a_node_that_listens_everywhere_is_asked_here() {
        assert_eq!(
            (reachable("0.0.0.0"), reachable("::"), reachable("10.0.0.1")),
            ("127.0.0.1".into(), "[::1]".into(), "10.0.0.1".into())
        );
    }
}
