//! What the machines and carriers are told of the configuration.

use std::sync::Arc;

use super::StartError;
use crate::actor::flow::FlowOptions;
use crate::config::{self, Config};
use crate::csta::Features;
use crate::cti::LinkConfig;
use crate::machine::directory::Directory;
use crate::machine::profile::Switches;
use crate::machine::rules::{IDLE_EXPIRES_S, INFO_TIMEOUT_MS, OUT_OF_SERVICE_AFTER_MS, Rules, STATUS_GRACE_MS};
use crate::sip::stream::Limits;
use crate::trace::Collector;

pub(super) fn rules(config: &Config, directory: Arc<Directory>, bound_port: u16) -> Rules {
    let sip = &config.sip;
    let switches = config.profile.iter().map(|profile| {
        let switches = Switches {
            extra_clear_after_transfer: profile.extra_clear_after_transfer,
            service_initiated: profile.service_initiated,
            catch_up_events: profile.catch_up_events,
            grace_s: profile.refresh_grace_s,
        };
        (profile.user_agent.clone(), switches)
    });
    Rules {
        contact: format!("<{}>", sip.contact_uri(bound_port)),
        sent_by: sip.sent_by(bound_port),
        via_transport: if sip.transport() == config::Transport::Tls { "TLS" } else { "TCP" },
        product: concat!("Lyncpin/", env!("CARGO_PKG_VERSION")).to_owned(),
        session_expires_s: sip.session_expires_s,
        min_se_s: sip.min_se_s,
        session_grace_s: sip.session_grace_s,
        idle_expires_s: IDLE_EXPIRES_S,
        keepalive_s: sip.keepalive_s,
        event_wait_ms: sip.event_wait_ms,
        request_timeout_ms: config.cti.iter().map(|link| link.request_timeout_ms).max().unwrap_or(8_000),
        info_timeout_ms: INFO_TIMEOUT_MS,
        open_max: sip.limits.dialog_transactions_max,
        out_of_service_after_ms: OUT_OF_SERVICE_AFTER_MS,
        status_grace_ms: STATUS_GRACE_MS,
        cseq_tolerant: sip.cseq_tolerant,
        phone_context: sip.phone_context.clone(),
        features: Arc::new(Features::standard()),
        switches: switches.collect(),
        directory,
    }
}

pub(super) fn flow_options(config: &Config) -> FlowOptions {
    let limits = &config.sip.limits;
    FlowOptions {
        limits: Limits {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            body_bytes_max: limits.body_bytes_max,
        },
        head_timeout_ms: u64::from(limits.head_timeout_s) * 1000,
    }
}

pub(super) fn link_config(link: &config::Cti) -> Result<LinkConfig, StartError> {
    let secret = link.password().map(|source| source.load()).transpose();
    let password = secret.map_err(|source| StartError::Secret { link: link.name.clone(), source })?;
    Ok(LinkConfig {
        name: link.name.clone(),
        dialect: link.address.dialect,
        host: link.address.host.clone(),
        port: link.address.port,
        user: link.user.clone().unwrap_or_default(),
        password: password.map(|password| password.reveal().to_owned()).unwrap_or_default(),
        switch_name: link.switch_name.clone().unwrap_or_default(),
        heartbeat_ms: u64::from(link.heartbeat_s) * 1000,
        heartbeat_misses_max: link.heartbeat_misses_max,
        connect_timeout_ms: link.connect_timeout_ms,
        request_timeout_ms: link.request_timeout_ms,
        backoff_min_ms: link.backoff_min_ms,
        backoff_max_ms: link.backoff_max_ms,
        outstanding_max: link.outstanding_max,
        recovery_window: link.recovery_window,
        session_duration_s: link.session_duration_s,
        cleanup_delay_s: link.cleanup_delay_s,
    })
}

/// `None`: nobody wants copies.
pub(super) fn collector(config: &Config) -> Result<Option<Collector>, StartError> {
    let start = |hep: &config::HepAddress| {
        let target = (hep.host.clone(), hep.port);
        Collector::start(target, config.node.id, config.trace.hep_shows_numbers).map_err(StartError::Collector)
    };
    config.trace.hep.as_ref().map(start).transpose()
}
