//! The first stage: activations of samples, views and edited renders.

use super::{Context, Progress, items};
use crate::error::Result;

/// Computes what the store lacks.
///
/// # Errors
/// When pictures cannot be read, the network fails, or the disk is full.
pub fn run(context: &Context) -> Result<()> {
    let (edits, _) = items::edits(context)?;
    for (stage, items) in [("extract", items::plain(context)), ("views", items::views(context)), ("edits", edits)] {
        if items.is_empty() {
            continue;
        }
        let mut progress = Progress::start(stage, "pictures", items.len())?;
        context.extraction().run(&context.store, &items, |count, made| {
            if made {
                return progress.advance(count);
            }
            progress.find(count);
            Ok(())
        })?;
        progress.finish();
    }
    Ok(())
}
