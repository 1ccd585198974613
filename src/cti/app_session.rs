//! Application sessions (ECMA-354): the documents that open, prolong and close the talk with a PBX.

use crate::csta::XmlError;
use crate::csta::tree::{Element, Tree};
use crate::csta::writer::Writer;
use crate::machine::link::LoginRefusal;

/// ECMA-354's namespace.
pub const NAMESPACE: &str = "http://www.ecma-international.org/standards/ecma-354/appl_session";
/// Avaya's namespace for its own documents and private data.
pub const AVAYA: &str = "http://www.avaya.com/csta";
/// Text a server gives as its reason is cut to this.
const REASON_BYTES_MAX: usize = 256;
/// The start tag of Avaya's log-in up to the type's value: it wants its schema type named.
const TYPED_FOR_AVAYA: &str =
    r#"xmlns:avaya="http://www.avaya.com/csta" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type"#;

/// One document, either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppSession {
    Start {
        application_id: String,
        login: Option<LoginInfo>,
        protocol_versions: Vec<String>,
        duration_s: u32,
    },
    Started {
        session_id: String,
        protocol_version: String,
        duration_s: u32,
    },
    StartRefused(LoginRefusal),
    ResetTimer {
        session_id: String,
        duration_s: u32,
    },
    TimerReset {
        duration_s: u32,
    },
    /// invalidSessionID, serverCannotResetSessionTimer, or the server's own words.
    ResetRefused {
        reason: String,
    },
    /// Written with `normal` as its reason.
    Stop {
        session_id: String,
    },
    Stopped,
    StopRefused {
        reason: String,
    },
    /// resourceLimitation, sessionTimerExpired, or the server's own words.
    Terminated {
        session_id: String,
        reason: String,
    },
}

/// Avaya's SessionLoginInfo. An empty `session_id` asks for a new session, another resumes that one.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginInfo {
    pub user_name: String,
    pub password: String,
    pub cleanup_delay_s: u32,
    pub session_id: String,
}

impl std::fmt::Debug for LoginInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginInfo").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// Reads a document; `None` when its root is none of ECMA-354's. Values that are missing are read as empty or 0: what
/// that means is for the dialect to say.
pub fn read(body: &[u8]) -> Result<Option<AppSession>, XmlError> {
    let tree = Tree::parse(body)?;
    let root = tree.root();
    let document = match root.name() {
        "StartApplicationSession" => AppSession::Start {
            application_id: below(root, "applicationID"),
            login: root.descendant("SessionLoginInfo").map(|login| LoginInfo {
                user_name: below(login, "userName"),
                password: below(login, "password"),
                cleanup_delay_s: seconds(login, "sessionCleanupDelay"),
                session_id: below(login, "sessionID"),
            }),
            protocol_versions: root
                .child("requestedProtocolVersions")
                .map(|list| list.children().map(|version| version.word().into_owned()).collect())
                .unwrap_or_default(),
            duration_s: seconds(root, "requestedSessionDuration"),
        },
        "StartApplicationSessionPosResponse" => AppSession::Started {
            session_id: below(root, "sessionID"),
            protocol_version: below(root, "actualProtocolVersion"),
            duration_s: seconds(root, "actualSessionDuration"),
        },
        "StartApplicationSessionNegResponse" => AppSession::StartRefused(refusal(root)),
        "ResetApplicationSessionTimer" => AppSession::ResetTimer {
            session_id: below(root, "sessionID"),
            duration_s: seconds(root, "requestedSessionDuration"),
        },
        "ResetApplicationSessionTimerPosResponse" => {
            AppSession::TimerReset { duration_s: seconds(root, "actualSessionDuration") }
        }
        "ResetApplicationSessionTimerNegResponse" => AppSession::ResetRefused { reason: reason(root) },
        "StopApplicationSession" => AppSession::Stop { session_id: below(root, "sessionID") },
        "StopApplicationSessionPosResponse" => AppSession::Stopped,
        "StopApplicationSessionNegResponse" => AppSession::StopRefused { reason: reason(root) },
        "ApplicationSessionTerminated" => AppSession::Terminated {
            session_id: below(root, "sessionID"),
            reason: root.child("sessionTermReason").map(cut).unwrap_or_default(),
        },
        _ => return Ok(None),
    };
    Ok(Some(document))
}

/// Writes a document in the schema's order.
pub fn write(document: &AppSession) -> Vec<u8> {
    Writer::document(document.root(), NAMESPACE, |writer| match document {
        AppSession::Start { application_id, login, protocol_versions, duration_s } => {
            writer.element("applicationInfo", |writer| {
                writer.text("applicationID", application_id);
                if let Some(login) = login {
                    writer.element("applicationSpecificInfo", |writer| write_login(writer, login));
                }
            });
            writer.element("requestedProtocolVersions", |writer| {
                protocol_versions.iter().for_each(|version| writer.text("protocolVersion", version));
            });
            writer.text("requestedSessionDuration", &duration_s.to_string());
        }
        AppSession::Started { session_id, protocol_version, duration_s } => {
            writer.text("sessionID", session_id);
            writer.text("actualProtocolVersion", protocol_version);
            writer.text("actualSessionDuration", &duration_s.to_string());
        }
        AppSession::StartRefused(refusal) => writer.element("errorCode", |writer| match refusal {
            LoginRefusal::InvalidApplicationInfo => writer.text("definedError", "invalidApplicationInfo"),
            LoginRefusal::ProtocolVersionNotSupported => {
                writer.text("definedError", "requestedProtocolVersionNotSupported");
            }
            LoginRefusal::ServerResourcesBusy => writer.text("definedError", "serverResourcesBusy"),
            LoginRefusal::MaxNumberSessions => writer.text("definedError", "maxNumberSessions"),
            LoginRefusal::Application(words) => writer.text("applError", words),
            LoginRefusal::Unspecified => {}
        }),
        AppSession::ResetTimer { session_id, duration_s } => {
            writer.text("sessionID", session_id);
            writer.text("requestedSessionDuration", &duration_s.to_string());
        }
        AppSession::TimerReset { duration_s } => writer.text("actualSessionDuration", &duration_s.to_string()),
        AppSession::ResetRefused { reason } | AppSession::StopRefused { reason } => {
            writer.element("errorCode", |writer| {
                let defined = ["invalidSessionID", "serverCannotResetSessionTimer"].contains(&reason.as_str());
                writer.text(if defined { "definedError" } else { "applError" }, reason);
            });
        }
        AppSession::Stop { session_id } => {
            writer.text("sessionID", session_id);
            writer.element("sessionEndReason", |writer| writer.text("definedEndReason", "normal"));
        }
        AppSession::Stopped => {}
        AppSession::Terminated { session_id, reason } => {
            writer.text("sessionID", session_id);
            writer.element("sessionTermReason", |writer| {
                let defined = ["resourceLimitation", "sessionTimerExpired"].contains(&reason.as_str());
                writer.text(if defined { "definedTermReason" } else { "serverTermReason" }, reason);
            });
        }
    })
}

impl AppSession {
    /// Whether it answers one of our requests.
    pub fn is_response(&self) -> bool {
        match self {
            Self::Start { .. } | Self::ResetTimer { .. } | Self::Stop { .. } | Self::Terminated { .. } => false,
            Self::Started { .. }
            | Self::StartRefused(_)
            | Self::TimerReset { .. }
            | Self::ResetRefused { .. }
            | Self::Stopped
            | Self::StopRefused { .. } => true,
        }
    }

    fn root(&self) -> &'static str {
        match self {
            Self::Start { .. } => "StartApplicationSession",
            Self::Started { .. } => "StartApplicationSessionPosResponse",
            Self::StartRefused(_) => "StartApplicationSessionNegResponse",
            Self::ResetTimer { .. } => "ResetApplicationSessionTimer",
            Self::TimerReset { .. } => "ResetApplicationSessionTimerPosResponse",
            Self::ResetRefused { .. } => "ResetApplicationSessionTimerNegResponse",
            Self::Stop { .. } => "StopApplicationSession",
            Self::Stopped => "StopApplicationSessionPosResponse",
            Self::StopRefused { .. } => "StopApplicationSessionNegResponse",
            Self::Terminated { .. } => "ApplicationSessionTerminated",
        }
    }
}

fn write_login(writer: &mut Writer, login: &LoginInfo) {
    writer.declared("avaya:SessionLoginInfo", TYPED_FOR_AVAYA, "avaya:SessionLoginInfo", |writer| {
        writer.text("avaya:userName", &login.user_name);
        writer.text("avaya:password", &login.password);
        writer.text("avaya:sessionCleanupDelay", &login.cleanup_delay_s.to_string());
        writer.text("avaya:sessionID", &login.session_id);
    });
}

fn below(element: Element<'_, '_>, name: &str) -> String {
    element.descendant(name).map(|child| child.word().into_owned()).unwrap_or_default()
}

fn seconds(element: Element<'_, '_>, name: &str) -> u32 {
    element.descendant(name).and_then(|child| child.word().parse().ok()).unwrap_or(0)
}

fn cut(element: Element<'_, '_>) -> String {
    let mut text = element.word().into_owned();
    if text.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn reason(root: Element<'_, '_>) -> String {
    root.child("errorCode").map(cut).unwrap_or_default()
}

fn refusal(root: Element<'_, '_>) -> LoginRefusal {
    match reason(root).as_str() {
        "" => LoginRefusal::Unspecified,
        "invalidApplicationInfo" => LoginRefusal::InvalidApplicationInfo,
        "requestedProtocolVersionNotSupported" => LoginRefusal::ProtocolVersionNotSupported,
        "serverResourcesBusy" => LoginRefusal::ServerResourcesBusy,
        "maxNumberSessions" => LoginRefusal::MaxNumberSessions,
        words => LoginRefusal::Application(words.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_read_as_it_was_written() {
        let login = LoginInfo {
            user_name: "gate<way".into(),
            password: "p&\"w".into(),
            cleanup_delay_s: 60,
            session_id: String::new(),
        };
        let start = |login| AppSession::Start {
            application_id: "lyncpin".into(),
            login,
            protocol_versions: vec!["a".into(), "b".into()],
            duration_s: 180,
        };
        let id = || "S1".to_owned();
        let documents = [
            start(None),
            start(Some(login)),
            AppSession::Started { session_id: id(), protocol_version: "a".into(), duration_s: 60 },
            AppSession::StartRefused(LoginRefusal::InvalidApplicationInfo),
            AppSession::StartRefused(LoginRefusal::ProtocolVersionNotSupported),
            AppSession::StartRefused(LoginRefusal::ServerResourcesBusy),
            AppSession::StartRefused(LoginRefusal::MaxNumberSessions),
            AppSession::StartRefused(LoginRefusal::Application("no licence".into())),
            AppSession::StartRefused(LoginRefusal::Unspecified),
            AppSession::ResetTimer { session_id: id(), duration_s: 60 },
            AppSession::TimerReset { duration_s: 60 },
            AppSession::ResetRefused { reason: "invalidSessionID".into() },
            AppSession::Stop { session_id: id() },
            AppSession::Stopped,
            AppSession::StopRefused { reason: "busy".into() },
            AppSession::Terminated { session_id: id(), reason: "sessionTimerExpired".into() },
            AppSession::Terminated { session_id: id(), reason: "going home".into() },
        ];
        for document in documents {
            assert_eq!(read(&write(&document)).unwrap(), Some(document));
        }
    }

    #[test]
    fn the_dmcc_login_is_typed_and_in_avayas_namespace() {
        let login =
            LoginInfo { user_name: "u".into(), password: "p".into(), cleanup_delay_s: 60, session_id: "OLD".into() };
        let document = AppSession::Start {
            application_id: "lyncpin".into(),
            login: Some(login),
            protocol_versions: vec!["3.0".into()],
            duration_s: 180,
        };
        let expected = concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            r#"<StartApplicationSession xmlns="http://www.ecma-international.org/standards/ecma-354/appl_session">"#,
            "<applicationInfo><applicationID>lyncpin</applicationID><applicationSpecificInfo>",
            r#"<avaya:SessionLoginInfo xmlns:avaya="http://www.avaya.com/csta" "#,
            r#"xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="avaya:SessionLoginInfo">"#,
            "<avaya:userName>u</avaya:userName><avaya:password>p</avaya:password>",
            "<avaya:sessionCleanupDelay>60</avaya:sessionCleanupDelay><avaya:sessionID>OLD</avaya:sessionID>",
            "</avaya:SessionLoginInfo></applicationSpecificInfo></applicationInfo>",
            "<requestedProtocolVersions><protocolVersion>3.0</protocolVersion></requestedProtocolVersions>",
            "<requestedSessionDuration>180</requestedSessionDuration></StartApplicationSession>",
        );
        assert_eq!(String::from_utf8(write(&document)).unwrap(), expected);
    }

    #[test]
    fn foreign_documents_are_none_of_ours_and_broken_ones_an_error() {
        assert_eq!(read(b"<MonitorStart/>"), Ok(None));
        assert!(read(b"<StartApplicationSessionPosResponse><sessionID>").is_err());
    }

    #[test]
    fn a_document_without_any_namespace_is_read() {
        let body = b"<StartApplicationSessionPosResponse><sessionID>7</sessionID>\
            <actualProtocolVersion>x</actualProtocolVersion><actualSessionDuration>9</actualSessionDuration>\
            </StartApplicationSessionPosResponse>";
        let started = AppSession::Started { session_id: "7".into(), protocol_version: "x".into(), duration_s: 9 };
        assert_eq!(read(body), Ok(Some(started)));
    }

    #[test]
    fn a_server_that_talks_too_much_is_cut() {
        let words = "ä".repeat(1000);
        let document = AppSession::StartRefused(LoginRefusal::Application(words.into()));
        let Ok(Some(AppSession::StartRefused(LoginRefusal::Application(read)))) = read(&write(&document)) else {
            panic!("not a refusal")
        };
        assert_eq!(read.len(), 256);
    }
}
