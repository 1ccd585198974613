//! `[[profile]]`: what one kind of client wants otherwise, by the beginning of its User-Agent.

use super::reader::settings;

/// Profiles a file may hold.
pub const PROFILES_MAX: usize = 32;

settings! {
    /// What clients of one kind want otherwise. The longest matching prefix wins; without one, these defaults hold.
    pub struct Profile {
        /// Beginning of the User-Agent, compared with case: "UCCAPI/4.0".
        user_agent: String;
        /// Send ConnectionCleared after a Transfered event too, for clients that close a call only on that.
        extra_clear_after_transfer: bool = false;
        /// Send ServiceInitiated when the phone goes off hook.
        service_initiated: bool = true;
        /// After MonitorStart, send the events that lead to calls which exist already.
        catch_up_events: bool = true;
        /// How long after its expiry a session is kept; default: [sip] session_grace_s.
        refresh_grace_s: Option<u32> = None;
    }
}
