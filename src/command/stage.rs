//! `run` and its stages one by one: `extract`, `fit`, `localise`, `maximise`, `score`, `sensitivity`, `report`.

use std::io::Write;

use anyhow::Context as _;

use crate::cli::StudyArgs;
use crate::stage::{Context, Settings, extract, fit, localise, maximise, report, score, sensitivity};
use crate::study::Study;

/// A stage of a study.
#[derive(Debug, Clone, Copy)]
pub enum Stage {
    /// Activations.
    Extract,
    /// Directions.
    Fit,
    /// Attribution maps.
    Localise,
    /// Rendered directions.
    Maximise,
    /// Measurements.
    Score,
    /// What the network says of directions: class sensitivity, second opinions, consistency.
    Sensitivity,
    /// Tables, figures and page.
    Report,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 7] =
        [Self::Extract, Self::Fit, Self::Localise, Self::Maximise, Self::Score, Self::Sensitivity, Self::Report];

    fn run(self, context: &Context) -> crate::Result<()> {
        match self {
            Self::Extract => extract::run(context),
            Self::Fit => fit::run(context),
            Self::Localise => localise::run(context),
            Self::Maximise => maximise::run(context),
            Self::Score => score::run(context),
            Self::Sensitivity => sensitivity::run(context),
            Self::Report => report::run(context),
        }
    }
}

/// Runs stages of a study. After the report the run's folder is printed, otherwise the store's.
///
/// # Errors
/// When the study, its data or a stage fails.
pub fn run(args: &StudyArgs, stages: &[Stage], out: &mut dyn Write) -> anyhow::Result<()> {
    let study = Study::read(&args.study, &args.run.set)?;
    set_threads(args.run.threads)?;
    let settings =
        Settings { out: args.run.out.clone(), store: args.run.store.clone(), device: args.run.device.clone() };
    let context = Context::open(study, &settings)?;
    let mut last = context.store.root();
    for stage in stages {
        stage.run(&context)?;
        if matches!(stage, Stage::Report) {
            last = &context.folder;
        }
    }
    writeln!(out, "{}", last.display()).context("cannot write to stdout")
}

/// Fixes the number of threads for everything that computes.
///
/// # Errors
/// When the threads cannot be started.
pub fn set_threads(threads: Option<u16>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        pool.build_global().context("cannot start the threads")?;
    }
    Ok(())
}
