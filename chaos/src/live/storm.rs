//! Calls that ring at idle phones and end again, as fast as they can: events for sessions that do nothing else.

use std::collections::VecDeque;

use lyncpin::lab::pbx::{Reply, Request};

use super::site::Site;

/// A storm rings so often at a time, and so many calls ring at once.
const CALLS: usize = 3;
const RINGING_MAX: usize = 12;

#[derive(Default)]
pub struct Storm {
    /// What rings now: device and call.
    ringing: VecDeque<(String, String)>,
    pub calls: usize,
}

impl Storm {
    /// Rings some more, and ends what rang first.
    pub async fn go_on(&mut self, site: &Site) {
        for _ in 0..CALLS {
            let device = site.idle_device(self.calls);
            self.calls += 1;
            let from = Some(format!("+1425888{:04}", self.calls % 10_000));
            if let Reply::Call { call } = site.pbx.control(Request::Ring { device: device.clone(), from }).await {
                self.ringing.push_back((device, call));
            }
        }
        self.end_all_but(site, RINGING_MAX).await;
    }

    pub async fn end_all_but(&mut self, site: &Site, count: usize) {
        while self.ringing.len() > count
            && let Some((device, call)) = self.ringing.pop_front()
        {
            // It may have ended by itself.
            site.pbx.control(Request::Hangup { device, call: Some(call) }).await;
        }
    }
}
