//! `cavern validate`: checks a study file without running it.

use std::io::Write;

use anyhow::Context as _;

use crate::cli::ValidateArgs;
use crate::study::Study;

/// Reads and checks a study, and says what it would do.
///
/// # Errors
/// When the study is not right: the message has the key, what is wrong and what is near.
pub fn run(args: &ValidateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let study = Study::read(&args.study, &args.set)?;
    let missing = study.missing_files();
    let layers = study.model.layers.join(", ");
    writeln!(out, "{}: study `{}`, seed {}", args.study.display(), study.name, study.seed)
        .and_then(|()| writeln!(out, "  model {} at {layers}", study.model.name))
        .and_then(|()| writeln!(out, "  probes {}", study.probe.kinds.join(", ")))
        .context("cannot write to stdout")?;
    for (key, path) in &missing {
        writeln!(out, "  not there yet: {key} = {}", path.display()).context("cannot write to stdout")?;
    }
    writeln!(out, "ok").context("cannot write to stdout")
}
