//! What a person sees: whatever is told, on any screen, in either light.

use serde_json::json;

use super::browser::Browser;
use super::told::Door;

/// Words whose contrast with what is behind them is less than WCAG 2.2, 1.4.3 asks for; and how many were looked at.
const FAINT: &str = r#"
    const light = ([r, g, b]) => {
      const part = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
      return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const numbers = (color) => color.match(/[\d.]+/g).map(Number);
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const color = numbers(getComputedStyle(at).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color.slice(0, 3);
      }
      return [255, 255, 255];
    };
    const faint = [];
    let looked = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
      const element = text.parentElement;
      const box = element.getBoundingClientRect();
      if (!text.data.trim() || box.width === 0 || box.right < 0 || !element.checkVisibility()) continue;
      const style = getComputedStyle(element);
      const [one, other] = [light(numbers(style.color)), light(behind(element))].sort((a, b) => b - a);
      const contrast = (one + 0.05) / (other + 0.05);
      looked += 1;
      const is_large = parseFloat(style.fontSize) >= 24;
      if (contrast < (is_large ? 3 : 4.5)) faint.push(`${contrast.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
    }
    return [looked, faint];
"#;

const TOO_WIDE: &str = r#"
    const wide = [...document.querySelectorAll("body *")].filter((one) =>
      one.checkVisibility() && !one.closest(".skip, thead") && one.getBoundingClientRect().right > innerWidth + 0.5);
    return [Math.max(0, document.documentElement.scrollWidth - innerWidth), wide.map((one) => one.outerHTML.slice(0, 120))];
"#;

pub async fn whatever_is_told_stays_text(browser: &Browser) {
    // Each of these would do something in a page that builds markup from text.
    let word =
        r#"<img src="https://evil.example/x" onerror="window.hit = 1"><script>window.hit = 2</script>'"&lt;b&gt;"#;
    let door = Door::open(word, None).await;
    browser.requests().await;
    browser.open(&door.url()).await;
    browser.until_text("#sessions", "onerror").await;
    door.desk.change(|told| {
        told["links"][0]["state"] = json!("down");
        told["links"][0]["last_error"] = json!(format!("refused {word}"));
        let service = &mut told["cluster"]["nodes"][0]["says"]["service"];
        (service["links_up"], service["links_down"]) = (json!(1), json!([format!("cm1{word}")]));
        (service["is_ready"], service["not_ready"]) = (json!(false), json!([format!("because {word}")]));
        let again = told["refusals"][0].clone();
        told["refusals"] = json!([again, told["refusals"][0]]);
        told["refusals"][0]["at_ms"] = json!(1_700_000_001_000_u64);
    });
    for part in
        ["#verdict", "#nodes", "#links", "#sessions", "#takeover", "#refusals", "#happened", "#place", "#pair-says"]
    {
        browser.until_text(part, "onerror=").await;
    }
    browser.run("document.getElementById('switchover').click()").await;
    browser.until_text("#confirm-title", "onerror=").await;
    browser.run("document.getElementById('operator').value = 'on call'").await;
    browser.run("document.getElementById('confirm-yes').click()").await;
    let outcome = browser.until_text("#confirm-outcome", "It was not done").await;
    assert!(outcome.contains("switchover: not now") && outcome.contains("onerror="), "{outcome}");
    assert_eq!(
        browser.is("[window.hit ?? null, document.querySelectorAll('img, main script').length]").await,
        json!([null, 0])
    );
    // Were somebody to build markup from text after all, the browser would refuse.
    let refused = "try { document.getElementById('place').innerHTML = '<b>x</b>'; return 'taken'; } catch (why) { return why.name; }";
    assert_eq!(browser.run(refused).await, "TypeError");
    let away: Vec<String> = browser.requests().await.into_iter().filter(|url| url.contains("evil")).collect();
    assert_eq!(away, Vec::<String>::new());
    browser.complaints().await;
}

pub async fn every_word_can_be_read_in_either_light(browser: &Browser) {
    let door = Door::open("", None).await;
    browser.open(&door.url()).await;
    browser.until_text("#verdict-title", "All is well").await;
    let mut papers = Vec::new();
    for state in ["well", "down"] {
        if state == "down" {
            door.desk.change(|told| {
                told["cluster"]["nodes"][1]["says"] = json!(null);
                told["cluster"]["spare_failures"] = json!(0);
                told["links"][1]["state"] = json!("down");
                told["links"][1]["last_error"] = json!("cannot connect: connection refused");
                let service = &mut told["cluster"]["nodes"][0]["says"]["service"];
                (service["links_up"], service["links_down"]) = (json!(1), json!(["cm2"]));
            });
            browser.until_text("#verdict", "cm2 is down").await;
        }
        for scheme in ["light", "dark"] {
            browser.prefer("prefers-color-scheme", scheme).await;
            let told = browser.run(FAINT).await;
            assert_eq!(told[1], json!([]), "{state} and {scheme}");
            assert!(told[0].as_u64() > Some(60), "{state} and {scheme}: {told}");
            papers.push(browser.is("getComputedStyle(document.body).backgroundColor").await);
        }
    }
    assert_ne!(papers[0], papers[1], "dark is another colour");
    browser.prefer("prefers-reduced-motion", "reduce").await;
    let moving = "[...document.querySelectorAll('*')].filter((one) => parseFloat(getComputedStyle(one).transitionDuration) > 0).length";
    assert_eq!(browser.is(moving).await, 0);
    browser.prefer("prefers-reduced-motion", "no-preference").await;
    assert_ne!(browser.is(moving).await, 0, "else the line above shows nothing");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// A witness has no sessions to show, which does not mean that nobody is signed in.
pub async fn a_witness_shows_the_pair_and_nothing_it_does_not_know(browser: &Browser) {
    let door = Door::open("", None).await;
    door.desk.change(|told| {
        let nodes = told["cluster"]["nodes"].as_array_mut().expect("nodes");
        nodes.rotate_right(1);
        (told["sessions"], told["links"], told["refusals"]) = (json!([]), json!([]), json!([]));
    });
    browser.open(&door.url()).await;
    browser.until_text("#verdict-title", "All is well").await;
    browser.until_text("#place", "seen from node3").await;
    let page = browser.text("main").await;
    assert!(page.contains("This is the witness") && !page.contains("Nobody is signed in"), "{page}");
    let shown = "[...document.querySelectorAll('#actions button, #links-title, #sessions-title, #refusals-title')].filter((one) => one.checkVisibility()).length";
    assert_eq!(browser.is(shown).await, 0, "{page}");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

pub async fn a_phone_shows_all_without_going_sideways(browser: &Browser) {
    let long = "-with-a-name-that-nobody-would-give-it-but-somebody-once-did";
    let door = Door::open(long, None).await;
    for word in ["", long] {
        let told = super::told::well(word);
        door.desk.change(|all| *all = told);
        for width in [320, 360, 768, 1280] {
            browser.resize(width, 740).await;
            browser.open(&door.url()).await;
            browser.until_text("#sessions", "alice").await;
            browser.until_text("#nodes", "node3").await;
            browser.until("document.getElementById('drain')").await;
            for open in [false, true] {
                if open {
                    browser.run("document.getElementById('drain').click()").await;
                }
                let told = browser.run(TOO_WIDE).await;
                assert_eq!(told, json!([0, []]), "{width} pixels, {word:?}, dialog {open}");
            }
        }
    }
    browser.resize(1280, 1000).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
