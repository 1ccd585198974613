//! What the operator's door can be asked, as an OpenAPI 3.1 document for programs and their generators.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const DOCUMENT: &str = include_str!("openapi.json");

/// For everybody: there is nothing of the node in it.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/api/openapi.json", get(document))
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// "GET /livez" for each route that a source names.
    fn routes_of(source: &str) -> BTreeSet<String> {
        let product = source.split("#[cfg(test)]").next().unwrap_or_default();
        let mut found = BTreeSet::new();
        for route in product.split(".route(").skip(1) {
            let Some((path, rest)) = route.trim_start().strip_prefix('"').and_then(|route| route.split_once('"'))
            else {
                panic!("a route whose path is no text cannot be found in the document: {:.60}", route)
            };
            let mut depth = 1;
            let end = rest.find(|c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            let how = &rest[..end.expect("a route ends")];
            for method in ["get", "post", "put", "delete", "patch"] {
                let is_so = how.match_indices(&format!("{method}(")).any(|(at, _)| {
                    let before = how[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                });
                if is_so {
                    found.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        found
    }

    #[test]
    fn the_document_has_every_route_and_every_route_is_in_it() {
        let sources = [include_str!("api.rs"), include_str!("page.rs"), include_str!("openapi.rs")];
        let there: BTreeSet<String> = sources.iter().flat_map(|source| routes_of(source)).collect();
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let told: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, how)| how.as_object().expect("methods").keys().map(move |method| (path, method)))
            .map(|(path, method)| format!("{} {path}", method.to_uppercase()))
            .collect();
        assert!(there.len() > 20, "{there:?}");
        let missing: Vec<&String> = there.difference(&told).collect();
        assert!(missing.is_empty(), "not in openapi.json: {missing:?}");
        let surplus: Vec<&String> = told.difference(&there).collect();
        assert!(surplus.is_empty(), "no such route: {surplus:?}");
    }

    #[test]
    fn routes_are_read_out_of_their_source() {
        let source = "Router::new().route(\"/a\", get(|| async { f(1) })).route(\n\"/b/{id}\",\npost(forget).delete(undo)\n)\
                      .route(\"/c\", post(restore).layer(Limit::max(X)));\n#[cfg(test)] .route(\"/d\", get(x))";
        let found = routes_of(source);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["DELETE /b/{id}", "GET /a", "POST /b/{id}", "POST /c"]);
    }
}
