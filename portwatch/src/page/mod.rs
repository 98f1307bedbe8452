//! One HTML page of what happened, for people: no script, no network, nothing to install.
//!
//! ```text
//!  gather   reports as they come: stories, scenes, runs (bounded, whatever comes)
//!  view     what was gathered -> the words and coordinates of the page, and the template, which
//!           escapes all of it
//! ```

mod chart;
mod gather;
mod grid;
mod lanes;
mod range_map;
mod scene;
mod stories;
mod story_view;
#[cfg(test)]
mod tests;
mod thinned;
mod view;
mod words;

pub use gather::{Page, PageSink, Source};
