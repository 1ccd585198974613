//! `lyncpin ctl trace`: one user's SIP and CSTA as it happens, as a ladder, as JSON, and into a capture file.

use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failed;
use super::call::Call;
use crate::admin::{TRACE_S_MAX, TraceWish};
use crate::cli::duration;
use crate::trace::{Capture, Line, Way, What};

/// Of one line: a message of the longest body, escaped.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Room for what an arrow carries.
const WIDE: usize = 40;

/// Follow one user's SIP and CSTA live, numbers masked.
#[derive(Debug, Args)]
pub struct Trace {
    /// The user's SIP address or its part before the @, a Line URI, a number or a device.
    #[arg(value_name = "USER|LINE")]
    pub who: String,
    /// Show whole numbers instead of their last two digits.
    #[arg(long)]
    pub show_numbers: bool,
    /// Show whole messages under their arrows.
    #[arg(long)]
    pub full: bool,
    /// How long, e.g. 90s, 10m, 2h; at most 4h.
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    pub length: Duration,
    /// Write the SIP messages into this file as well, for tshark, Wireshark or sngrep.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
}

impl Trace {
    pub(super) fn run(&self, call: &Call, as_json: bool, out: &mut impl Write) -> Result<(), Failed> {
        let for_s = self.length.as_secs();
        if for_s > TRACE_S_MAX {
            return Err(Failed::Told(format!("expected --for of at most {} hours", TRACE_S_MAX / 3_600)));
        }
        let mut capture = self.pcap.as_ref().map(|path| {
            let unwritable = |why: std::io::Error| Failed::Told(format!("{}: {why}", path.display()));
            Capture::begin(BufWriter::new(File::create(path).map_err(unwritable)?)).map_err(unwritable)
        });
        let mut capture = capture.take().transpose()?;
        let wish = TraceWish { who: self.who.clone(), shows_numbers: self.show_numbers, for_s };
        // Err: never, every field can be written.
        let wish = serde_json::to_vec(&wish).unwrap_or_default();
        let mut lines = call.stream("/api/v1/trace", &wish)?;
        let mut text = String::new();
        loop {
            text.clear();
            let read = lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut text).map_err(|why| broke_off(&why))?;
            if read == 0 {
                return Err(Failed::Told("the node has ended the trace; does it still run?".to_owned()));
            }
            // The node makes sure that somebody is there.
            if text.trim().is_empty() {
                continue;
            }
            let line: Line = super::read(serde_json::from_str(&text).unwrap_or_default())?;
            if let Some(capture) = &mut capture {
                capture.take(&line)?;
            }
            match as_json {
                true => out.write_all(text.as_bytes())?,
                false => self.show(&line, out)?,
            }
            out.flush()?;
            if matches!(line.what, What::Ended { .. }) {
                return Ok(());
            }
        }
    }

    fn show(&self, line: &Line, out: &mut impl Write) -> Result<(), Failed> {
        let at = time(line.at_us);
        match &line.what {
            What::Begun { node, users, devices, served_by, shows_numbers, ends_in_s } => {
                let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
                writeln!(out, "Following {} (device {}) at {node}", list(users), list(devices))?;
                writeln!(out, "  served by  {}", list(served_by))?;
                if served_by.iter().any(|server| server != node) {
                    writeln!(out, "             ask that node for its CTI link, with --admin")?;
                }
                writeln!(out, "  numbers    {}", if *shows_numbers { "shown" } else { "masked; --show-numbers" })?;
                writeln!(out, "  ends in    {ends_in_s} s, or with Ctrl-C\n")?;
                writeln!(out, "{:12}  {:WIDE$}  {:WIDE$}", "UTC", "Lync", "Lyncpin")?;
                writeln!(out, "{:12}  {:WIDE$}  {:WIDE$}  PBX", "", "|", "|")?;
            }
            What::Sip { way, peer, summary, text, .. } => {
                writeln!(out, "{at}  {}|  {peer}", arrow(*way, true, summary))?;
                self.body(text, out)?;
            }
            What::Cti { way, link, summary, text } => {
                writeln!(out, "{at}  {:WIDE$}  {}|  {link}", "|", arrow(*way, false, summary))?;
                self.body(text, out)?;
            }
            What::Lost { count } => writeln!(out, "{at}  ... {count} lines came too fast to be shown, and are lost")?,
            What::Ended { why } => writeln!(out, "{at}  the trace has ended: {why}")?,
        }
        Ok(())
    }

    fn body(&self, text: &str, out: &mut impl Write) -> Result<(), Failed> {
        if self.full && !text.is_empty() {
            for line in text.lines() {
                writeln!(out, "              {line}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn broke_off(why: &std::io::Error) -> Failed {
    Failed::Told(format!("the trace broke off: {why}"))
}

/// `|-- INFO MakeCall ------------>`, as wide as a column. Towards the PBX, out is to the right; towards Lync, to the left.
fn arrow(way: Way, is_towards_lync: bool, summary: &str) -> String {
    let is_to_the_right = (way == Way::In) == is_towards_lync;
    let room = WIDE - 5;
    let summary = match summary.char_indices().nth(room) {
        None => summary.to_owned(),
        Some(_) => summary.chars().take(room - 1).chain(['…']).collect(),
    };
    let dashes = "-".repeat(room - summary.chars().count());
    match is_to_the_right {
        true => format!("|-- {summary} {dashes}->"),
        false => format!("|<- {summary} {dashes}--"),
    }
}

/// Of the day, UTC.
fn time(at_us: u64) -> String {
    let ms = at_us / 1_000 % 86_400_000;
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{h:02}:{m:02}:{s:02}.{:03}", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(what: What) -> String {
        let trace = Trace { who: "alice".into(), show_numbers: false, full: false, length: Duration::ZERO, pcap: None };
        let mut out = Vec::new();
        // 1970-01-02, 10:11:06.123
        trace.show(&Line { at_us: (86_400 + 36_666) * 1_000_000 + 123_999, what }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arrows_point_where_the_message_goes() {
        let sip = |way, summary: &str| {
            let peer = "192.0.2.10:49152".parse().unwrap();
            let (summary, text) = (summary.to_owned(), String::new());
            shown(What::Sip { way, flow: 1, local: None, peer, is_secure: true, summary, text })
        };
        let cti = |way| shown(What::Cti { way, link: "cm1".into(), summary: "MakeCall".into(), text: String::new() });
        let long = "200 OK to INVITE RequestSystemStatusResponse";
        let towards_lync = [sip(Way::In, "INFO MakeCall"), sip(Way::Out, "200 OK to INFO"), sip(Way::Out, long)];
        let lines = [towards_lync.concat(), cti(Way::Out), cti(Way::In)].concat();
        let expected = "\
10:11:06.123  |-- INFO MakeCall ----------------------->|  192.0.2.10:49152
10:11:06.123  |<- 200 OK to INFO -----------------------|  192.0.2.10:49152
10:11:06.123  |<- 200 OK to INVITE RequestSystemStat… --|  192.0.2.10:49152
10:11:06.123  |                                         |-- MakeCall ---------------------------->|  cm1
10:11:06.123  |                                         |<- MakeCall -----------------------------|  cm1
";
        assert_eq!(lines, expected, "\n{lines}");
    }
}
