//! The words of an application session (ECMA-354) and of the DMCC dialect, as a server reads and writes them.

use crate::csta::tree::{Element, Tree};
use crate::csta::writer::Writer;

/// ECMA-354's namespace.
pub const SESSION_NAMESPACE: &str = "http://www.ecma-international.org/standards/ecma-354/appl_session";
/// Avaya's namespace, of what DMCC adds.
pub const DMCC_NAMESPACE: &str = "http://www.avaya.com/csta";

/// What a client asks beside CSTA services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Start(Start),
    ResetTimer { session: String, duration_s: u64 },
    Stop { session: String },
    DeviceId { extension: String, switch: String },
    ReleaseDeviceId,
    TransferMonitors { from: String, to: String },
}

/// StartApplicationSession. `login` is DMCC's SessionLoginInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub application: String,
    pub protocol_version: Option<String>,
    pub duration_s: u64,
    pub login: Option<Login>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
    pub cleanup_delay_s: u64,
    /// The session to go on with; empty for a new one.
    pub session: String,
}

/// Reads a document whose root is no CSTA service; `None` when it is none of these either.
pub fn read(body: &[u8]) -> Option<Asked> {
    let tree = Tree::parse(body).ok()?;
    let root = tree.root();
    let text = |element: Element<'_, '_>, name: &str| {
        element.descendant(name).map(|found| found.word().into_owned()).unwrap_or_default()
    };
    let seconds = |name: &str| text(root, name).parse().unwrap_or(0);
    Some(match root.name() {
        "StartApplicationSession" => Asked::Start(Start {
            application: text(root, "applicationID"),
            protocol_version: root.descendant("protocolVersion").map(|version| version.word().into_owned()),
            duration_s: seconds("requestedSessionDuration"),
            login: root.descendant("SessionLoginInfo").map(|login| Login {
                user: text(login, "userName"),
                password: text(login, "password"),
                cleanup_delay_s: text(login, "sessionCleanupDelay").parse().unwrap_or(0),
                session: text(login, "sessionID"),
            }),
        }),
        "ResetApplicationSessionTimer" => {
            Asked::ResetTimer { session: text(root, "sessionID"), duration_s: seconds("requestedSessionDuration") }
        }
        "StopApplicationSession" => Asked::Stop { session: text(root, "sessionID") },
        "GetThirdPartyDeviceId" => {
            Asked::DeviceId { extension: text(root, "extension"), switch: text(root, "switchName") }
        }
        "ReleaseDeviceId" => Asked::ReleaseDeviceId,
        "TransferMonitorObjects" => {
            Asked::TransferMonitors { from: text(root, "fromSessionID"), to: text(root, "toSessionID") }
        }
        _ => return None,
    })
}

pub fn started(session: &str, protocol_version: &str, duration_s: u64) -> Vec<u8> {
    Writer::document("StartApplicationSessionPosResponse", SESSION_NAMESPACE, |out| {
        out.text("sessionID", session);
        out.text("actualProtocolVersion", protocol_version);
        out.text("actualSessionDuration", &duration_s.to_string());
    })
}

pub fn timer_reset(duration_s: u64) -> Vec<u8> {
    Writer::document("ResetApplicationSessionTimerPosResponse", SESSION_NAMESPACE, |out| {
        out.text("actualSessionDuration", &duration_s.to_string());
    })
}

/// `root` is one of ECMA-354's responses without content, or DMCC's.
pub fn done(root: &str, namespace: &str) -> Vec<u8> {
    Writer::document(root, namespace, |_| {})
}

/// `root` is one of ECMA-354's negative responses, `error` a definedError.
pub fn refused(root: &str, error: &str) -> Vec<u8> {
    Writer::document(root, SESSION_NAMESPACE, |out| {
        out.element("errorCode", |out| out.text("definedError", error));
    })
}

pub fn terminated(session: &str) -> Vec<u8> {
    Writer::document("ApplicationSessionTerminated", SESSION_NAMESPACE, |out| {
        out.text("sessionID", session);
        out.element("sessionTermReason", |out| out.text("definedTermReason", "resourceLimitation"));
    })
}

pub fn device_id(device: &str) -> Vec<u8> {
    Writer::document("GetThirdPartyDeviceIdResponse", DMCC_NAMESPACE, |out| out.text("device", device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dmcc_login_is_read_whatever_its_prefixes() {
        let body =
            br#"<StartApplicationSession xmlns="http://www.ecma-international.org/standards/ecma-354/appl_session">
            <applicationInfo><applicationID>lyncpin</applicationID><applicationSpecificInfo>
            <ns1:SessionLoginInfo xsi:type="ns1:SessionLoginInfo" xmlns:ns1="http://www.avaya.com/csta"
              xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
            <ns1:userName>u</ns1:userName><ns1:password>p</ns1:password>
            <ns1:sessionCleanupDelay>60</ns1:sessionCleanupDelay><ns1:sessionID></ns1:sessionID>
            </ns1:SessionLoginInfo></applicationSpecificInfo></applicationInfo>
            <requestedProtocolVersions><protocolVersion>3.0</protocolVersion></requestedProtocolVersions>
            <requestedSessionDuration>180</requestedSessionDuration></StartApplicationSession>"#;
        let login = Login { user: "u".into(), password: "p".into(), cleanup_delay_s: 60, session: String::new() };
        let start = Start {
            application: "lyncpin".into(),
            protocol_version: Some("3.0".into()),
            duration_s: 180,
            login: Some(login),
        };
        assert_eq!(read(body), Some(Asked::Start(start)));
        assert_eq!(read(b"<Nonsense/>"), None);
        assert_eq!(read(b"<"), None);
    }
}
