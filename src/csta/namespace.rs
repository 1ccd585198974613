//! The namespaces of ECMA-323's editions.

use std::sync::{Arc, LazyLock};

/// An XML namespace as it stood on the root element; empty when there was none.
pub type Namespace = Arc<str>;

/// Edition 2 still named the old host.
pub const ED2: &str = "http://www.ecma.ch/standards/ecma-323/csta/ed2";
/// Edition 3: every Microsoft client known.
pub const ED3: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";
pub const ED4: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed4";
/// Edition 5: uaCSTA phones.
pub const ED5: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed5";
pub const ED6: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed6";
/// Microsoft's private data (`lcs:line`).
pub const LCS: &str = "http://schemas.microsoft.com/Lcs/2005/04/RCCExtension";

static KNOWN: LazyLock<[Namespace; 6]> = LazyLock::new(|| [ED3, ED5, ED4, ED6, ED2, ""].map(Arc::from));

/// The namespace as a shared value; the usual ones are never allocated again.
pub fn namespace(name: &str) -> Namespace {
    KNOWN.iter().find(|known| &***known == name).cloned().unwrap_or_else(|| Arc::from(name))
}
