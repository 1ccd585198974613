//! The operator's page: a few files inside the program, which ask nobody but the node they came from.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Each part of the page: its name under `/page/`, its type, its text.
const PARTS: &[(&str, &str, &str)] = &[
    ("page.css", CSS, include_str!("page/page.css")),
    ("parts.css", CSS, include_str!("page/parts.css")),
    ("asked.css", CSS, include_str!("page/asked.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("main.js", JS, include_str!("page/main.js")),
    ("actions.js", JS, include_str!("page/actions.js")),
    ("api.js", JS, include_str!("page/api.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("links.js", JS, include_str!("page/links.js")),
    ("pair.js", JS, include_str!("page/pair.js")),
    ("sessions.js", JS, include_str!("page/sessions.js")),
    ("told.js", JS, include_str!("page/told.js")),
    ("verdict.js", JS, include_str!("page/verdict.js")),
    ("words.js", JS, include_str!("page/words.js")),
];

/// Nothing from elsewhere, nothing inline, no text that becomes markup (Trusted Types), in no frame of anybody's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// For everybody: there is nothing of the node in it. What it shows it asks for, with the token of who looks at it.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(index)).route("/page/{part}", get(part))
}

async fn index() -> Response {
    served("text/html; charset=utf-8", include_str!("page/index.html"))
}

async fn part(Path(name): Path<String>) -> Response {
    match PARTS.iter().find(|(known, _, _)| *known == name) {
        Some((_, kind, text)) => served(kind, text),
        None => (StatusCode::NOT_FOUND, "the page has no such part\n").into_response(),
    }
}

fn served(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> impl Iterator<Item = (&'static str, &'static str)> {
        PARTS.iter().filter(|(_, kind, _)| *kind == JS).map(|(name, _, text)| (*name, *text))
    }

    #[test]
    fn every_part_the_page_names_is_there_and_every_part_is_named() {
        let all: String = script().map(|(_, text)| text).chain([include_str!("page/index.html")]).collect();
        for (name, _, _) in PARTS {
            let is_named = all.contains(&format!("/page/{name}\"")) || all.contains(&format!("\"./{name}\""));
            assert!(is_named, "nobody asks for {name}");
        }
        for (_, rest) in
            all.split("from \"./").skip(1).filter_map(|rest| rest.split_once('"').map(|(name, _)| ((), name)))
        {
            assert!(PARTS.iter().any(|(name, _, _)| *name == rest), "{rest} is imported and not there");
        }
    }

    #[test]
    fn nothing_inline_nothing_from_elsewhere_and_no_text_becomes_markup() {
        let html = include_str!("page/index.html");
        for inline in ["<style", "style=\"", "onclick", "onload", "javascript:"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for (name, text) in script() {
            for way in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                ".style.",
                "DOMParser",
            ] {
                assert!(!text.contains(way), "{name}: {way}");
            }
        }
        for (name, _, text) in PARTS.iter().chain([&("index.html", "", html)]) {
            let away = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!away.contains("http://") && !away.contains("https://") && !away.contains("url("), "{name}");
        }
        assert!(!POLICY.contains("unsafe"));
    }
}
