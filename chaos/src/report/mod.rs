//! One HTML file about one run, for somebody who never saw this project.

mod bins;
mod page;
mod timeline;

use crate::history::History;
use crate::verdict::Verdict;

/// The whole page; it needs nothing else.
pub fn html(history: &History, verdict: &Verdict) -> String {
    page::page(history, verdict)
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::Golden;
    use crate::history::Phase;
    use crate::verdict::judge;

    #[test]
    fn a_page_names_the_fault_the_broken_promise_and_the_command() {
        let golden =
            Golden::default().prober("10001").phase(Phase::Calm).signed_in("10001", "a", "t").asked_ok("10001");
        let golden = golden.health(1, true).kill(1).health(1, false).refused("10001", 481).healed(1).asked_ok("10001");
        let mut history = golden.phase(Phase::Over).history();
        history.run.scenario = "<kill>".to_owned();
        history.run.replay = "chaos live --scenario kill --seed 7".to_owned();
        let page = html(&history, &judge(&history));
        for wanted in
            ["kill -9", "was answered 481", "chaos live --scenario kill --seed 7", "<svg", "&lt;kill&gt;", "I15"]
        {
            assert!(page.contains(wanted), "{wanted}");
        }
        assert!(!page.contains("<kill>") && !page.contains("http://") && !page.contains("NaN"));
    }

    #[test]
    fn a_page_of_an_empty_history_can_be_read_too() {
        let history = History::default();
        assert!(html(&history, &judge(&history)).contains("the history is empty"));
    }
}
