//! The node's supervised parts: CTI links, the users file, certificates, sessions.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use tracing::{error, info, warn};

use super::Crew;
use crate::actor::child::Exit;
use crate::actor::door;
use crate::actor::dynamic::{DynamicSupervisor, Happening as SessionHappening, Plan};
use crate::actor::features::FeatureProbe;
use crate::actor::link::LinkActor;
use crate::actor::links::LinkMail;
use crate::actor::node::Node;
use crate::actor::spec::ChildSpec;
use crate::config::Config;
use crate::cti::LinkConfig;
use crate::directory::{DirectoryWatch, Reload};
use crate::id::SessionId;
use crate::machine::link::LinkState;
use crate::machine::rules::Rules;
use crate::transport::{TlsEngine, TlsError};

/// The supervisor of all sessions. A session that cannot be kept alive ends, so that its client begins anew.
pub(super) fn sessions(node: &Arc<Node>, crew: &Crew) -> DynamicSupervisor<SessionId> {
    let (maker, teller) = (Arc::downgrade(node), Arc::downgrade(node));
    let mut plan = Plan::new(move |id: &SessionId, birth| match maker.upgrade() {
        Some(node) => door::begin(&node, id, birth),
        None => birth.ignore(),
    })
    .places(crew.places())
    .on(move |happening| {
        let Some(node) = teller.upgrade() else { return };
        match happening {
            SessionHappening::Died { key, exit } => {
                node.counters.count("session", "died");
                error!(session = %key, ?exit, "session actor died; it is restarted from its record");
            }
            SessionHappening::GivenUp { key, exit } => {
                node.counters.count("session", "given_up");
                error!(session = %key, ?exit, "session actor dies again and again; its client must sign in anew");
                door::give_up(&node, key);
            }
            SessionHappening::Parked { key, input } => {
                node.counters.count("session", "parked");
                error!(session = %key, input, "an input crashed the session three times and is refused from now on");
            }
            SessionHappening::PlaceHung { place } => {
                error!(place, "a session thread does not answer; restart the gateway, the peer takes over");
            }
            SessionHappening::Left { children } => warn!(children, "sessions left behind at the end"),
        }
    });
    plan.children_max = node.sessions_max;
    let sessions = DynamicSupervisor::new(plan);
    // Err: set already, which this function is called once to do.
    let _ = node.sessions.set(sessions.clone());
    sessions
}

/// One CTI link. After a restart of its actor the sessions bind to the new one.
pub(super) fn link_child(
    child: &'static str,
    at: usize,
    config: LinkConfig,
    node: Arc<Node>,
    connector: Arc<dyn crate::cti::Connector>,
) -> ChildSpec {
    ChildSpec::new(child, move |birth| {
        let (config, node, connector) = (config.clone(), node.clone(), connector.clone());
        async move {
            let Some(seat) = node.links.iter().nth(at).cloned() else { return Ok(()) };
            let link = LinkActor::new(config, connector).counting(seat.times_up()).tapped(node.tap.clone());
            let mut state = link.watch_state();
            let addr = birth.actor(|_, _| link);
            let mail = Arc::new(LinkMail::of(&addr));
            seat.seat(mail.clone());
            FeatureProbe::new(seat.clone(), mail).start();
            node.book.bind_again(&seat.name);
            actix_rt::spawn({
                let node = node.clone();
                async move {
                    loop {
                        let is_up = *state.borrow_and_update() == LinkState::Up;
                        if seat.is_up() != is_up {
                            seat.set_up(is_up);
                            node.counters.count("link", if is_up { "up" } else { "down" });
                        }
                        if state.changed().await.is_err() {
                            return seat.set_up(false);
                        }
                    }
                }
            });
            Ok(())
        }
    })
    .probe_every_ms(5_000)
}

/// Looks at the users file and publishes what changed.
pub(super) fn reload_child(config: &Config, directory: Arc<DirectoryWatch>, node: Arc<Node>) -> ChildSpec {
    let period = Duration::from_secs(u64::from(config.users.reload_s));
    ChildSpec::new("users", move |birth| {
        let (directory, node) = (directory.clone(), node.clone());
        async move {
            birth.local_task(move |mut stop, _| async move {
                loop {
                    let pause = async {
                        match period.is_zero() {
                            true => std::future::pending().await,
                            false => tokio::time::sleep(period).await,
                        }
                    };
                    tokio::select! {
                        () = stop.stopped() => return Exit::Normal,
                        () = pause => {}
                    }
                    let looking = directory.clone();
                    let Ok(looked) = tokio::task::spawn_blocking(move || looking.look()).await else { continue };
                    take_reload(&node, &directory, looked);
                }
            });
            Ok(())
        }
    })
}

pub(super) fn take_reload(node: &Node, directory: &DirectoryWatch, looked: Reload) {
    match looked {
        Reload::Unchanged | Reload::Settling => {}
        Reload::Loaded { users, warnings } => {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            let rules = Rules { directory: directory.current(), ..(**node.rules.load()).clone() };
            node.rules.store(Arc::new(rules));
            info!(users, "users reloaded");
        }
        Reload::Kept { problems } => {
            for problem in problems {
                error!("the users file is not taken, the old one stays in use until it is mended: {problem}");
            }
        }
    }
}

pub(super) fn certificates_child(child: &'static str, config: &Config, engine: Arc<dyn TlsEngine>) -> ChildSpec {
    let period = Duration::from_secs(u64::from(config.sip.tls.reload_s));
    ChildSpec::new(child, move |birth| {
        let engine = engine.clone();
        async move {
            birth.local_task(move |mut stop, _| async move {
                let report = |outcome: Result<(), TlsError>| match outcome {
                    Ok(()) => info!("certificates reloaded; connections from now on use them"),
                    Err(problem) => error!("the new certificates are not taken, the old ones stay in use: {problem}"),
                };
                let watching = async {
                    match period.is_zero() {
                        true => std::future::pending().await,
                        false => crate::transport::watch(engine, period, report).await,
                    }
                };
                tokio::select! {
                    () = stop.stopped() => Exit::Normal,
                    () = watching => Exit::Failed,
                }
            });
            Ok(())
        }
    })
}
