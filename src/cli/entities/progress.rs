//! Shows the progress of a large import on the terminal. Where standard error is no terminal, nothing is shown.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use mandate_core::entities::LoadProgress;

/// How often the number of entities that were read is shown.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs `read`, and shows how many entities it has read.
pub fn while_reading<T>(read: impl FnOnce(&LoadProgress) -> T) -> T {
    let (progress, bar) = (LoadProgress::default(), ProgressBar::new_spinner());
    bar.set_style(style("{spinner} reading entities: {human_pos}"));
    let (done, wait) = channel::<()>();
    let (count, shown) = (&progress, &bar);
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while wait.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                shown.set_position(count.count() as u64);
            }
        });
        // Dropped at the end, even if reading panics, so that the thread ends.
        let _done = done;
        read(count)
    });
    bar.finish_and_clear();
    result
}

/// A bar for edits that are being written.
pub fn writing(edits: usize) -> ProgressBar {
    let bar = ProgressBar::new(edits as u64);
    bar.set_style(style("writing {wide_bar} {human_pos} of {human_len}, {eta} left"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
