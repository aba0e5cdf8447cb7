//! `cavern validate`: checks a study or survey file without running it.

use std::io::Write;

use crate::cli::ValidateArgs;
use crate::study::{Study, Survey};

/// Reads and checks a study or a survey, and says what it would do.
///
/// # Errors
/// When the file is not right: the message has the key, what is wrong and what is near.
pub fn run(args: &ValidateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let file = args.study.display();
    let missing = if Survey::is_one(&args.study) {
        let survey = Survey::read(&args.study, &args.set)?;
        writeln!(out, "{file}: survey `{}`, seed {}", survey.name, survey.seed)?;
        let networks: Vec<&str> = survey.network.keys().map(String::as_str).collect();
        writeln!(out, "  networks {}", networks.join(", "))?;
        survey.missing_files()
    } else {
        let study = Study::read(&args.study, &args.set)?;
        writeln!(out, "{file}: study `{}`, seed {}", study.name, study.seed)?;
        writeln!(out, "  model {} at {}", study.model.name, study.model.layers.join(", "))?;
        writeln!(out, "  probes {}", study.probe.kinds.join(", "))?;
        let missing = study.missing_files().into_iter();
        missing.map(|(key, path)| (key.to_owned(), path.to_path_buf())).collect()
    };
    for (key, path) in &missing {
        writeln!(out, "  not there yet: {key} = {}", path.display())?;
    }
    Ok(writeln!(out, "ok")?)
}
