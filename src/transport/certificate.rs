//! What a certificate says about itself, and whether a client's may speak.

use std::path::Path;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::rustls_engine::certificates;
use super::{NamePattern, Refused, TlsError};

/// Read from a certificate; whether to believe it is the verifier's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DNS names of the subjectAltName, lower case. The subject's CN counts only in a certificate without any
    /// subjectAltName (RFC 6125 §6.4.4): in a company CA a person may choose their display name, which becomes the CN
    /// of their own certificate, and must not become a front end by calling themselves one.
    pub names: Vec<String>,
    /// Seconds since 1970, UTC.
    pub not_after_unix_s: i64,
    pub purposes: Purposes,
}

/// The extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purposes {
    pub is_present: bool,
    pub any: bool,
    pub client_auth: bool,
    pub server_auth: bool,
}

/// What the extended key usage of a client certificate must allow.
///
/// Lync's own certificate request asks for serverAuth alone, and front ends present that certificate as a client too.
/// `ClientOrServerAuth` lets them in; the chain, the dates and the name are checked all the same, so that what is given
/// up is only that the certificate was meant for this direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientPurpose {
    /// The certificate says clientAuth or anyExtendedKeyUsage; silence is not enough.
    #[default]
    ClientAuth,
    /// serverAuth will do, and so will a certificate that names no purpose.
    ClientOrServerAuth,
}

impl CertificateFacts {
    /// Of the first certificate of a PEM file.
    pub fn of_file(path: &Path) -> Result<Self, TlsError> {
        let bytes = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
        let chain = certificates(&bytes, path)?;
        let facts = chain.first().and_then(|der| Self::parse(der));
        facts.ok_or_else(|| TlsError::BadCertificate { path: path.to_owned() })
    }

    /// `None`: not a certificate, or one with an extension that cannot be read.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let broken = |extension: &x509_parser::extensions::X509Extension<'_>| {
            matches!(extension.parsed_extension(), ParsedExtension::ParseError { .. })
        };
        if certificate.extensions().iter().any(broken) {
            return None;
        }
        let usage = certificate.extended_key_usage().ok()?.map(|extension| extension.value);
        let purposes = Purposes {
            is_present: usage.is_some(),
            any: usage.is_some_and(|usage| usage.any),
            client_auth: usage.is_some_and(|usage| usage.client_auth),
            server_auth: usage.is_some_and(|usage| usage.server_auth),
        };
        let mut names: Vec<String> = match certificate.subject_alternative_name().ok()? {
            Some(alternative) => alternative
                .value
                .general_names
                .iter()
                .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
                .filter(|name| is_name(name))
                .map(str::to_ascii_lowercase)
                .collect(),
            None => certificate
                .subject()
                .iter_common_name()
                .last()
                .and_then(|name| name.as_str().ok())
                .filter(|name| is_name(name))
                .map(str::to_ascii_lowercase)
                .into_iter()
                .collect(),
        };
        names.dedup();
        Some(Self { names, not_after_unix_s: certificate.validity().not_after.timestamp(), purposes })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*'))
}

impl Purposes {
    /// Whether the certificate of the client itself may be used so.
    pub fn allow_client(self, purpose: ClientPurpose) -> bool {
        match purpose {
            ClientPurpose::ClientAuth => self.client_auth || self.any,
            ClientPurpose::ClientOrServerAuth => self.client_auth || self.any || self.server_auth || !self.is_present,
        }
    }
}

/// Judges a client's own certificate after its chain has been verified; the names are the peer's.
pub(super) fn judge_client(
    der: &[u8],
    purpose: ClientPurpose,
    names_allowed: &[NamePattern],
) -> Result<Vec<String>, Refused> {
    let facts = CertificateFacts::parse(der).ok_or(Refused::CertificateInvalid)?;
    if !facts.purposes.allow_client(purpose) {
        return Err(Refused::CertificateWrongPurpose);
    }
    let admitted = |name: &String| names_allowed.iter().any(|pattern| pattern.admits(name));
    if names_allowed.contains(&NamePattern::Any) || facts.names.iter().any(admitted) {
        Ok(facts.names)
    } else {
        Err(Refused::CertificateNameNotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};

    fn facts(change: impl FnOnce(&mut CertificateParams)) -> CertificateFacts {
        let mut params = CertificateParams::default();
        change(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        CertificateFacts::parse(certificate.der()).unwrap()
    }

    #[test]
    fn the_common_name_counts_only_without_a_subject_alternative_name() {
        let alone = facts(|params| params.distinguished_name.push(DnType::CommonName, "FE01.contoso.com"));
        assert_eq!(alone.names, ["fe01.contoso.com"]);
        let beside_dns = facts(|params| {
            params.distinguished_name.push(DnType::CommonName, "pool.contoso.com");
            params.subject_alt_names.push(SanType::DnsName("FE02.contoso.com".try_into().unwrap()));
        });
        assert_eq!(beside_dns.names, ["fe02.contoso.com"]);
        // A person's certificate: a display name of their choice, and their mail address beside it.
        let person = facts(|params| {
            params.distinguished_name.push(DnType::CommonName, "fe01.contoso.com");
            params.subject_alt_names.push(SanType::Rfc822Name("mallory@contoso.com".try_into().unwrap()));
        });
        assert_eq!(person.names, Vec::<String>::new());
    }

    #[test]
    fn a_common_name_that_is_no_dns_name_is_no_name() {
        let person = facts(|params| params.distinguished_name.push(DnType::CommonName, "Alice Example"));
        assert_eq!(person.names, Vec::<String>::new());
    }

    #[test]
    fn a_purpose_must_be_said_when_clients_must_be_clients() {
        use ClientPurpose::{ClientAuth, ClientOrServerAuth};
        let cases = [
            (vec![], false, true),
            (vec![ExtendedKeyUsagePurpose::ClientAuth], true, true),
            (vec![ExtendedKeyUsagePurpose::Any], true, true),
            (vec![ExtendedKeyUsagePurpose::ServerAuth], false, true),
            (vec![ExtendedKeyUsagePurpose::CodeSigning], false, false),
        ];
        for (usages, strict, relaxed) in cases {
            let purposes = facts(|params| params.extended_key_usages = usages.clone()).purposes;
            assert_eq!(purposes.allow_client(ClientAuth), strict, "{usages:?}");
            assert_eq!(purposes.allow_client(ClientOrServerAuth), relaxed, "{usages:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(CertificateFacts::parse(b""), None);
        assert_eq!(CertificateFacts::parse(b"0\x82\x01\x00garbage"), None);
    }
}
