//! Who may open the door: a token, compared in constant time or by its Argon2 hash, and a lock-out for guessers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secret;

/// Wrong tokens from one address until it is locked out.
const MISSES_MAX: u32 = 10;
const LOCKED_OUT: Duration = Duration::from_secs(60);
/// Addresses remembered; when it is full the oldest miss is forgotten.
const ADDRESSES_MAX: usize = 1_024;

/// What stands in `secret_file`.
enum Kept {
    Token(Secret),
    Hash(String),
}

pub struct Keeper {
    kept: Option<Kept>,
    misses: Mutex<HashMap<IpAddr, (u32, Instant)>>,
    /// The last token that fitted a hash: Argon2 is slow on purpose, and a page asks every second.
    known: Mutex<Option<Secret>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Welcome,
    /// 401: no token, or a wrong one.
    Unknown,
    /// 429: too many wrong ones.
    LockedOut,
}

/// As it may stand in `secret_file`. `None`: the kernel gives no randomness.
pub fn hash_of(token: &str) -> Option<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok()?;
    let salt = SaltString::encode_b64(&bits).ok()?;
    Argon2::default().hash_password(token.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

impl Keeper {
    /// Err: what stands there looks like a hash and is none.
    pub fn new(secret: Option<Secret>) -> Result<Self, String> {
        let kept = match secret {
            Some(secret) if secret.reveal().starts_with("$argon2") => {
                let hash = PasswordHash::new(secret.reveal()).map_err(|why| why.to_string())?;
                Params::try_from(&hash).map_err(|why| why.to_string())?;
                if hash.salt.is_none() || hash.hash.is_none() {
                    return Err("it has no salt or no hash; make one with `lyncpin ctl hash`".to_owned());
                }
                Some(Kept::Hash(secret.reveal().to_owned()))
            }
            Some(secret) => Some(Kept::Token(secret)),
            None => None,
        };
        Ok(Self { kept, misses: Mutex::default(), known: Mutex::default() })
    }

    pub fn has_secret(&self) -> bool {
        self.kept.is_some()
    }

    /// `authorization`: the header as it came, Bearer for programs and Basic (any name) for browsers.
    pub fn judge(&self, from: IpAddr, authorization: Option<&str>, now: Instant) -> Verdict {
        let Some(kept) = &self.kept else { return Verdict::Welcome };
        if self.is_locked_out(from, now) {
            return Verdict::LockedOut;
        }
        let Some(token) = authorization.and_then(token_of) else { return Verdict::Unknown };
        if self.fits(kept, &token) {
            self.misses().remove(&from);
            return Verdict::Welcome;
        }
        self.missed(from, now);
        Verdict::Unknown
    }

    fn fits(&self, kept: &Kept, token: &str) -> bool {
        match kept {
            Kept::Token(secret) => are_same(secret.reveal().as_bytes(), token.as_bytes()),
            Kept::Hash(hash) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.as_ref().is_some_and(|known| are_same(known.reveal().as_bytes(), token.as_bytes())) {
                    return true;
                }
                let fits = PasswordHash::new(hash)
                    .is_ok_and(|hash| Argon2::default().verify_password(token.as_bytes(), &hash).is_ok());
                if fits {
                    *known = Some(Secret::new(token));
                }
                fits
            }
        }
    }

    fn is_locked_out(&self, from: IpAddr, now: Instant) -> bool {
        let mut misses = self.misses();
        match misses.get(&from) {
            Some((_, since)) if now.duration_since(*since) >= LOCKED_OUT => {
                misses.remove(&from);
                false
            }
            Some((count, _)) => *count >= MISSES_MAX,
            None => false,
        }
    }

    fn missed(&self, from: IpAddr, now: Instant) {
        let mut misses = self.misses();
        if misses.len() >= ADDRESSES_MAX && !misses.contains_key(&from) {
            let oldest = misses.iter().min_by_key(|(_, (_, since))| *since).map(|(address, _)| *address);
            oldest.map(|oldest| misses.remove(&oldest));
        }
        let entry = misses.entry(from).or_insert((0, now));
        *entry = (entry.0 + 1, now);
    }

    fn misses(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, (u32, Instant)>> {
        self.misses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token_of(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, token)| token.to_owned())
}

/// In a time that tells only the length.
fn are_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |wrong, (a, b)| wrong | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn keeper(secret: &str) -> Keeper {
        Keeper::new(Some(Secret::new(secret))).unwrap()
    }

    #[test]
    fn a_token_or_its_hash_opens_the_door_and_nothing_else_does() {
        let hash = hash_of("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        for keeper in [keeper("correct horse"), keeper(&hash)] {
            let now = Instant::now();
            let judge = |header: Option<&str>| keeper.judge(HERE, header, now);
            assert_eq!(judge(Some("Bearer correct horse")), Verdict::Welcome);
            assert_eq!(judge(Some("bearer  correct horse ")), Verdict::Welcome);
            assert_eq!(judge(Some(&format!("Basic {}", STANDARD.encode("me:correct horse")))), Verdict::Welcome);
            for wrong in ["Bearer correct", "Bearer", "Basic !!", "Digest correct horse", "", "Bearer correct horsf"] {
                assert_eq!(judge(Some(wrong)), Verdict::Unknown, "{wrong}");
            }
            assert_eq!(judge(None), Verdict::Unknown);
            assert_eq!(judge(Some(&format!("Bearer {hash}"))), Verdict::Unknown, "the hash is not the token");
        }
        assert!(Keeper::new(Some(Secret::new("$argon2id$broken"))).is_err());
    }

    #[test]
    fn a_guesser_is_locked_out_for_a_minute_and_nobody_else_is() {
        let keeper = keeper("right");
        let now = Instant::now();
        for _ in 0..MISSES_MAX {
            assert_eq!(keeper.judge(THERE, Some("Bearer wrong"), now), Verdict::Unknown);
        }
        assert_eq!(keeper.judge(THERE, Some("Bearer right"), now), Verdict::LockedOut);
        assert_eq!(keeper.judge(HERE, Some("Bearer right"), now), Verdict::Welcome);
        assert_eq!(keeper.judge(THERE, Some("Bearer right"), now + LOCKED_OUT), Verdict::Welcome);
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound() {
        let keeper = keeper("right");
        let now = Instant::now();
        for n in 0..5_000_u32 {
            let from = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n));
            keeper.judge(from, Some("Bearer wrong"), now + Duration::from_millis(u64::from(n)));
        }
        assert_eq!(keeper.misses().len(), ADDRESSES_MAX);
    }
}
