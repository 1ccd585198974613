//! What `lyncpin lab users` can be told.

use std::path::PathBuf;

use clap::Args;

use crate::client::Product;

/// Simulated Lync users that sign in and call each other.
///
/// Exit status: 0 all went well; 1 something failed, a call was left over, or the gateway broke a rule; 2 the options or
/// the users file cannot be used.
#[derive(Args, Clone, Debug)]
pub struct UsersOptions {
    /// Where the gateway or its balancer listens; given again, the next one is tried when a connection fails.
    #[arg(long = "gateway", value_name = "HOST:PORT", default_values_t = ["127.0.0.1:5060".to_owned()])]
    pub gateways: Vec<String>,
    /// Show one call from sign-in to sign-out, every message printed, instead of a load.
    #[arg(long)]
    pub demo: bool,
    /// How many users.
    #[arg(long, default_value_t = 100)]
    pub users: usize,
    /// Users from a file instead: CSV with a header; columns sip and line, and optionally server, epid, product.
    #[arg(long, value_name = "FILE")]
    pub users_csv: Option<PathBuf>,
    /// Users' SIP URIs; {n} is the user's number, {n:04} the same with at least 4 digits.
    #[arg(long, default_value = "sip:user{n:04}@contoso.com")]
    pub user_pattern: String,
    /// Users' lines, as the gateway is configured to know them.
    #[arg(long, default_value = "tel:+1425555{n:04}")]
    pub line_pattern: String,
    /// The first user's number.
    #[arg(long, default_value_t = 1)]
    pub first: usize,
    /// The Line Server URI.
    #[arg(long, default_value = "sip:rccgw@rccgw.contoso.com")]
    pub server: String,
    /// Which client the users pretend to be; without it all six take turns.
    #[arg(long, value_enum)]
    pub product: Option<Product>,
    /// Connections that carry all users, as from a Lync front end.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub connections: u8,
    /// A connection for every user instead.
    #[arg(long)]
    pub own_connections: bool,
    /// Spread each dialog's messages over all connections.
    #[arg(long)]
    pub spread: bool,
    /// Send a request again on another connection when its connection is lost.
    #[arg(long)]
    pub repeat: bool,
    /// Begin every connection with NEGOTIATE, as Lync front ends do.
    #[arg(long)]
    pub negotiate: bool,
    #[arg(long, default_value_t = 100.0, value_name = "RATE")]
    pub sign_ins_per_s: f64,
    /// 0: only sign in, and stay.
    #[arg(long, default_value_t = 10.0, value_name = "RATE")]
    pub calls_per_s: f64,
    /// How long calls are placed.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub duration_s: u64,
    /// How long a call lasts once answered.
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    pub talk_ms: u64,
    /// Of all calls, how many are answered; the rest ring once and are given up.
    #[arg(long, default_value_t = 90, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub answer_percent: u8,
    /// Of the answered, how many are held and resumed.
    #[arg(long, default_value_t = 20, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub hold_percent: u8,
    /// Of the answered, how many are transferred to a third user.
    #[arg(long, default_value_t = 10, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub transfer_percent: u8,
    /// Of all calls, how many go to numbers outside.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub outside_percent: u8,
    /// What is dialled to reach a user: {line}, and {op}, a number that no other call has.
    #[arg(long, default_value = "{line}")]
    pub dial_user: String,
    /// What is dialled outside.
    #[arg(long, default_value = "tel:+1900{op:07}")]
    pub dial_outside: String,
    /// The longest wait for an answer or an event.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub patience_ms: u64,
    /// Every operation and event, one JSON line each, for a checker.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
    /// No status line while it runs.
    #[arg(long)]
    pub quiet: bool,
}

/// Fills `{name}` and `{name:04}` in.
pub(super) fn fill(pattern: &str, name: &str, value: &str) -> String {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        let (key, width) = inside.split_once(':').unwrap_or((inside, ""));
        if key == name {
            let width: usize = width.parse().unwrap_or(0);
            filled.push_str(&format!("{value:0>width$}"));
        } else {
            filled.push_str(&format!("{{{inside}}}"));
        }
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_their_number_with_and_without_width() {
        assert_eq!(fill("tel:+1425555{n:04};ext={n}", "n", "7"), "tel:+14255550007;ext=7");
        assert_eq!(fill("{line};isub={op}", "line", "tel:1"), "tel:1;isub={op}");
        assert_eq!(fill("no end {n", "n", "7"), "no end {n");
    }
}
