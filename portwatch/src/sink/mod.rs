//! Reports on their way out: filter, redact, text, JSON.
