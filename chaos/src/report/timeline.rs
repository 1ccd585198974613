//! The picture: one column a moment, one lane a question.

use std::fmt::Write;

use super::bins::{BINS, Lanes, Span};
use super::escaped;
use crate::history::{History, Phase};
use crate::verdict::Verdict;

const LEFT: f64 = 170.0;
const WIDTH: f64 = 1120.0;
const RIGHT: f64 = 20.0;
const GAP: f64 = 14.0;
/// Room for the names of broken promises.
const TOP: f64 = 22.0;

struct Drawing {
    svg: String,
    y: f64,
    end_us: u64,
}

/// Lanes from top to bottom: phases, faults, who serves, who acts, answers, pauses; broken promises across all of them.
pub fn svg(history: &History, verdict: &Verdict) -> String {
    let lanes = Lanes::of(history);
    let mut drawing = Drawing { svg: String::new(), y: TOP, end_us: lanes.end_us };
    drawing.phases(&lanes);
    drawing.faults(&lanes);
    drawing.nodes(&lanes);
    let acting: Vec<Vec<u64>> = lanes.acting.iter().map(|bin| bin.to_vec()).collect();
    drawing.bars("requests at the PBX", "which node acted", &acting, &["n1", "n2"], 70.0, "");
    let answers: Vec<Vec<u64>> = lanes.answers.iter().map(|bin| bin.to_vec()).collect();
    drawing.bars("answers to users", "done, refused, unknown", &answers, &["ok", "refused", "unknown"], 80.0, "");
    let pauses: Vec<Vec<u64>> = lanes.pause_ms.iter().map(|ms| vec![*ms]).collect();
    drawing.bars("longest pause", "of any asking user", &pauses, &["pause"], 70.0, " ms");
    drawing.axis();
    drawing.breaches(verdict);
    let (height, body) = (drawing.y + 4.0, drawing.svg);
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"What happened, over time\">{body}</svg>"
    )
}

impl Drawing {
    fn x(&self, at_us: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * at_us as f64 / self.end_us as f64
    }

    fn add(&mut self, text: std::fmt::Arguments) {
        // Err: a string takes everything.
        let _ = self.svg.write_fmt(text);
    }

    fn name(&mut self, name: &str, about: &str, height: f64) {
        let y = self.y + (height / 2.0).min(18.0) + 2.0;
        let name = escaped(name);
        self.add(format_args!("<text class=\"name\" x=\"4\" y=\"{y:.1}\">{name}</text>"));
        if !about.is_empty() {
            let (y, about) = (y + 15.0, escaped(about));
            self.add(format_args!("<text class=\"about\" x=\"4\" y=\"{y:.1}\">{about}</text>"));
        }
    }

    fn span(&mut self, span: &Span, height: f64, class: &str, title: &str) -> (f64, f64) {
        let (x, y) = (self.x(span.from_us), self.y);
        let width = (self.x(span.to_us) - x).max(2.0);
        let title = escaped(title);
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"3\"><title>{title}</title></rect>"
        ));
        (x, width)
    }

    fn phases(&mut self, lanes: &Lanes) {
        self.name("phase", "", 20.0);
        for (phase, span) in &lanes.phases {
            let (class, text) = match phase {
                Phase::SignIn => ("quiet", "sign-in"),
                Phase::Calm => ("quiet", "calm"),
                Phase::Faults => ("broken", "things are broken"),
                Phase::Healing => ("quiet", "healing"),
                Phase::Convergence => ("proof", "all must work"),
                Phase::Over => continue,
            };
            let (x, width) = self.span(span, 20.0, class, text);
            if width > 7.0 * text.len() as f64 {
                let (x, y) = (x + width / 2.0, self.y + 14.0);
                self.add(format_args!(
                    "<text class=\"inside\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
                ));
            }
        }
        self.y += 20.0 + GAP;
    }

    fn faults(&mut self, lanes: &Lanes) {
        for (n, (name, span)) in lanes.faults.iter().enumerate() {
            if n == 0 {
                self.name("what was done", "", 18.0);
            }
            let (x, width) = self.span(span, 16.0, "fault", name);
            // Beside the bar, on the side with more room.
            let text = escaped(name);
            let y = self.y + 12.5;
            if x + width + 8.0 * name.len() as f64 > WIDTH {
                let x = x - 6.0;
                self.add(format_args!(
                    "<text class=\"label\" text-anchor=\"end\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
                ));
            } else {
                let x = x + width + 6.0;
                self.add(format_args!("<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
            }
            self.y += 20.0;
        }
        self.y += if lanes.faults.is_empty() { 0.0 } else { GAP - 4.0 };
    }

    fn nodes(&mut self, lanes: &Lanes) {
        for (node, spans) in &lanes.alive {
            let serving = lanes.serving.get(node);
            let name = if serving.is_some() { format!("node {node}") } else { "witness".to_owned() };
            self.name(&name, "", 16.0);
            for span in spans {
                self.span(span, 16.0, "alive", "its process is there");
            }
            let class = if *node == 1 { "n1" } else { "n2" };
            for span in serving.into_iter().flatten() {
                self.span(span, 16.0, class, "it serves users");
            }
            self.y += 20.0;
        }
        let y = self.y + 9.0;
        let about = "full: serves users · pale: the process is there and does not serve · none: no process";
        self.add(format_args!("<text class=\"about\" x=\"{LEFT}\" y=\"{y:.1}\">{about}</text>"));
        self.y += 12.0 + GAP;
    }

    /// Stacked bars; the highest is labelled.
    fn bars(&mut self, name: &str, about: &str, bins: &[Vec<u64>], classes: &[&str], height: f64, unit: &str) {
        self.name(name, about, 30.0);
        let top = bins.iter().map(|bin| bin.iter().sum::<u64>()).max().unwrap_or(0).max(1);
        let step = (WIDTH - LEFT - RIGHT) / BINS as f64;
        let base = self.y + height;
        self.add(format_args!(
            "<line class=\"base\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>",
            WIDTH - RIGHT
        ));
        for (n, bin) in bins.iter().enumerate() {
            let mut y = base;
            for (value, class) in bin.iter().zip(classes).filter(|(value, _)| **value > 0) {
                let tall = (height * *value as f64 / top as f64).max(1.0);
                y -= tall;
                let x = LEFT + n as f64 * step;
                self.add(format_args!(
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{tall:.1}\"/>",
                    step - 0.6
                ));
            }
        }
        let highest = match unit {
            "" => format!("{:.0}/s", top as f64 * BINS as f64 * 1e6 / self.end_us as f64),
            unit => format!("{top}{unit}"),
        };
        let (x, y) = (LEFT - 8.0, self.y + 9.0);
        self.add(format_args!("<text class=\"about\" text-anchor=\"end\" x=\"{x}\" y=\"{y:.1}\">{highest}</text>"));
        self.y += height + GAP;
    }

    fn axis(&mut self) {
        let seconds = self.end_us as f64 / 1e6;
        let step =
            [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3_600.0].into_iter().find(|step| seconds / step <= 16.0);
        let step = step.unwrap_or(36_000.0);
        let mut at = 0.0;
        while at <= seconds {
            let (x, y) = (self.x((at * 1e6) as u64), self.y);
            self.add(format_args!("<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{y:.1}\"/>"));
            let y = y + 13.0;
            self.add(format_args!(
                "<text class=\"about\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{at:.0} s</text>"
            ));
            at += step;
        }
        self.y += 20.0;
    }

    fn breaches(&mut self, verdict: &Verdict) {
        let bottom = self.y - 20.0;
        let firsts = verdict.findings.iter().filter_map(|finding| Some((&finding.id, finding.breaches.first()?)));
        let mut firsts: Vec<_> = firsts.collect();
        firsts.sort_by_key(|(_, breach)| breach.at_us);
        let mut free_x = 0.0;
        for (id, breach) in firsts {
            let x = self.x(breach.at_us);
            let title = escaped(&breach.what);
            self.add(format_args!(
                "<line class=\"breach\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"><title>{title}</title></line>"
            ));
            // Beside each other, not over each other.
            let (x, y) = (x.max(free_x).min(WIDTH - 24.0), TOP - 6.0);
            free_x = x + 28.0;
            self.add(format_args!(
                "<text class=\"breach-name\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{id}</text>"
            ));
        }
    }
}
