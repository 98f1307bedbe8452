//! portwatch
fn main() {}
