//! The command line: types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// cavern asks of a neural network: does this direction mean the concept?
#[derive(Debug, Parser)]
#[command(name = "cavern", version, about)]
#[command(after_help = "Examples:\n  \
    cavern run probes/quickstart.toml\n  \
    cavern ls models\n\n\
    Begin with `cavern new study`; every command tells more by `cavern COMMAND --help`.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Only warnings, errors and the result
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also what is read and made, and why
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Cli {
    /// What is said on stderr.
    pub fn level(&self) -> tracing::Level {
        match (self.quiet, self.verbose) {
            (true, _) => tracing::Level::WARN,
            (_, true) => tracing::Level::DEBUG,
            _ => tracing::Level::INFO,
        }
    }
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole study: extract, fit, localise, maximise, score, sensitivity, report
    #[command(after_help = "Examples:\n  \
        cavern run probes/quickstart.toml\n  \
        cavern run probes/quickstart.toml --set seed=2 --out runs\n\n\
        The last line on stdout is the run's folder. Running a study again does only what is missing.")]
    Run(StudyArgs),
    /// Compute the activations a study needs
    #[command(after_help = "Example: cavern extract probes/quickstart.toml")]
    Extract(StudyArgs),
    /// Fit a study's probes to extracted activations
    #[command(after_help = "Example: cavern fit probes/quickstart.toml")]
    Fit(StudyArgs),
    /// Compute attribution maps of fitted probes
    #[command(after_help = "Example: cavern localise probes/quickstart.toml")]
    Localise(StudyArgs),
    /// Render what a study's directions, or units of a network, ask for (activation maximisation)
    #[command(after_help = "Examples:\n  \
        cavern maximise probes/quickstart.toml --set maximise.steps=64\n  \
        cavern maximise elements_cnn conv6:3 'conv6:3 - conv6:5' logits:0 --set maximise.steps=64\n  \
        cavern maximise efficientnet_lite0 logits:tabby --weights lite0.safetensors --from cat.jpg --set maximise.steps=8\n  \
        cavern maximise elements_cnn --from cat.jpg --caricature conv5 --set maximise.steps=64\n\n\
        A unit is LAYER:CHANNEL, its mean over positions; LAYER:CHANNEL@ROW,COLUMN or @centre, one position;\n\
        LAYER:CHANNEL@class, the class token; LAYER:headN, an attention head; LAYER:NAME, a class's logit. Units are\n\
        added and subtracted with spaces about the sign, and weighted as in '0.5*conv6:3 + conv6:5'. Layers are those\n\
        of `cavern ls layers`. The keys of --set are those of a study's [maximise] table, and seed.\n\
        The last line on stdout is the folder of the pictures. Running it again makes only what is missing.")]
    Maximise(MaximiseArgs),
    /// Change photographs until a network sees another class: within a small ball, by a hidden unit, by blending
    #[command(
        after_help = "Example: cavern attack efficientnet_lite0 --weights lite0.safetensors photos/*.jpg --layer blocks.9 --epsilon 4\n\
        Beside every attack stands a change of the same size without an aim. Photographs are given as JPEG or PNG; the\n\
        last line on stdout is the folder of attacks.csv, summary.csv and the changed photographs."
    )]
    Attack(AttackArgs),
    /// Measure fitted probes
    #[command(after_help = "Example: cavern score probes/quickstart.toml")]
    Score(StudyArgs),
    /// Ask the network about fitted probes: TCAV, second opinions on maps, consistency between layers
    #[command(after_help = "Example: cavern sensitivity probes/quickstart.toml --set opinion.pictures=5\n\
        What is asked for has a table in the study: [tcav], [opinion], [consistency].")]
    Sensitivity(StudyArgs),
    /// Write tables, figures and the page of a scored study
    #[command(after_help = "Example: cavern report probes/quickstart.toml")]
    Report(StudyArgs),
    /// Hold finished runs against the first: what differs in inputs and numbers; compare probes over all of them
    #[command(after_help = "Example: cavern compare runs/quickstart-* --out comparison\n\
        Runs may differ in seed, world, data and model. The last line on stdout is a page.")]
    Compare(CompareArgs),
    /// Ask several networks what their units ask for: by depth, size and family, and what of its claims shows
    #[command(after_help = "Example: cavern survey probes/representation.toml\n\
        The last line on stdout is the run's folder. Running it again does only what is missing.")]
    Survey(StudyArgs),
    /// Train the model of a study that has a `train` table
    #[command(after_help = "Example: cavern train probes/train_elements.toml --out runs\n\
        The last line on stdout is the weights file.")]
    Train(StudyArgs),
    /// Check a study or survey file without running it
    #[command(after_help = "Examples:\n  \
        cavern validate probes/camvid.toml --set dataset.root=CamVid\n  \
        cavern validate probes/quickstart.toml --json")]
    Validate(ValidateArgs),
    /// Check what a study's data can answer: shortcuts, too few samples, leaks between splits
    #[command(after_help = "Example: cavern dataset check probes/camvid.toml --set dataset.root=CamVid")]
    Dataset(DatasetArgs),
    /// List models, a model's layers, dataset formats, probe kinds, metrics, studies or runs
    #[command(after_help = "Examples:\n  \
        cavern ls models\n  \
        cavern ls layers efficientnet_lite0 --match 'blocks.*'\n  \
        cavern ls datasets\n  \
        cavern ls metrics --json\n  \
        cavern ls studies probes\n  \
        cavern ls runs --out runs")]
    Ls(LsArgs),
    /// Write a commented study file to start from, or the schema of study files for an editor
    #[command(after_help = "Examples:\n  cavern new study\n  cavern new schema")]
    New(NewArgs),
    /// Show what an ONNX file holds: operators, layers and their shapes, what is not supported
    #[command(after_help = "Examples:\n  cavern inspect network.onnx\n  cavern inspect network.onnx --json")]
    Inspect(InspectArgs),
    /// Write a run's directions, activations or maps as arrays for other programs (.npz, .safetensors)
    #[command(after_help = "Examples:\n  \
        cavern export probes/quickstart.toml cavs --to cavs.npz\n  \
        cavern export probes/quickstart.toml activations --layer conv6 --to conv6.npz\n  \
        cavern export probes/quickstart.toml maps --concept red --probe classifier --split test --to maps.safetensors\n\n\
        A study file means its run in --out; the folder of a run does as well. What is in a file: docs/python.md.\n\
        Activations are read again by dataset.format = \"imported\", with the same labels and split.\n\
        The last line on stdout is the file.")]
    Export(ExportArgs),
    /// Name what a classifier sees in pictures
    #[command(after_help = "Example: cavern predict efficientnet_lite0 --weights lite0.safetensors cat.jpg --top 5")]
    Predict(PredictArgs),
    /// Time a network layer by layer
    #[command(after_help = "Examples:\n  \
        cavern profile resnet18 --batch 1 --gradient\n  \
        cavern profile elements_cnn --runs 1 --json\n\n\
        Weights that are not given are random: they change the results, not the time.")]
    Profile(ProfileArgs),
    /// Print what makes a shell complete cavern's commands and options
    #[command(after_help = "Examples:\n  \
        cavern completions bash > cavern.bash\n  \
        cavern completions zsh > _cavern\n\n\
        Put the file where the shell looks: bash, ~/.local/share/bash-completion/completions/cavern; zsh, a folder of\n\
        $fpath, as _cavern; fish, ~/.config/fish/completions/cavern.fish.")]
    Completions(CompletionsArgs),
    /// Print the manual page, or write a page for every command
    #[command(after_help = "Examples:\n  cavern man > cavern.1\n  cavern man pages\n\n\
        Read a page with `man ./cavern.1`; put pages into a folder man1 of $MANPATH.")]
    Man(ManArgs),
}

/// What every command on a study takes.
#[derive(Debug, Clone, Args)]
pub struct StudyArgs {
    /// The study file (TOML)
    pub study: PathBuf,
    /// Where and how it runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Where and how something runs.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Change a key of the study: --set model.weights=PATH
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Folder for artifacts, to share between studies [default: OUT/store]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Where networks run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// What `maximise` takes.
#[derive(Debug, Clone, Args)]
pub struct MaximiseArgs {
    /// The study file (TOML); or, with units, a name of `cavern ls models` or an ONNX file
    #[arg(value_name = "STUDY|MODEL")]
    pub target: PathBuf,
    /// Units of the model's layers: LAYER:UNIT
    #[arg(value_name = "LAYER:UNIT")]
    pub units: Vec<String>,
    /// With a model: a photograph to start from instead of noise; where it was changed is written beside every picture
    #[arg(long, value_name = "PICTURE")]
    pub from: Option<PathBuf>,
    /// With --from: render what makes the photograph's own activation at this layer larger
    #[arg(long, value_name = "LAYER", requires = "from")]
    pub caricature: Option<String>,
    /// With a model and LAYERs instead of units: a direction of each, from an .npy, .npz or .safetensors file: a value a
    /// channel, or a value a channel and position
    #[arg(long, value_name = "FILE[:ARRAY]", conflicts_with = "caricature", requires = "units")]
    pub direction: Option<PathBuf>,
    /// With a model: pictures whose spectrum "maco" takes, and whose colours `maximise.colours = "data"`
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// With a model: the weights file
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// With a model: height and width of the input in pixels, where the network allows a choice
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// Where and how it runs.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `attack` takes.
#[derive(Debug, Clone, Args)]
pub struct AttackArgs {
    /// A classifier: a name of `cavern ls models`, or an ONNX file
    pub model: String,
    /// Photographs (PNG or JPEG)
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// The weights file
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// A linear head that `cavern train` has trained on one of the model's layers
    #[arg(long, value_name = "PATH")]
    pub head: Option<PathBuf>,
    /// A file with the name of a class on every line
    #[arg(long, value_name = "PATH")]
    pub labels: Option<PathBuf>,
    /// The class to reach, by name or number [default: another one for every photograph, drawn]
    #[arg(long, value_name = "CLASS")]
    pub target: Option<String>,
    /// The layer whose units are raised by the method "unit"; without one that method is left out
    #[arg(long, value_name = "LAYER")]
    pub layer: Option<String>,
    /// The most a value may change, in levels of 255
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', default_values_t = [2.0, 4.0, 8.0])]
    pub epsilon: Vec<f64>,
    /// Steps of every attack, each of a quarter of epsilon
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Another classifier that only looks, as MODEL or MODEL=WEIGHTS; may be given again
    #[arg(long, value_name = "MODEL=WEIGHTS")]
    pub transfer: Vec<String>,
    /// What start and target are drawn from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Folder for tables and pictures
    #[arg(long, value_name = "DIR", default_value = "attacks")]
    pub out: PathBuf,
    /// Where networks run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// What `compare` takes.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Folders of finished runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for tables, figures and page
    #[arg(long, value_name = "DIR", default_value = "comparison")]
    pub out: PathBuf,
    /// Only this metric beside accuracy and the truth; may be given again
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
    /// Resamples of concepts behind every interval
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub bootstrap: usize,
    /// Seed of the resamples
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// What `export` takes.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// The folder of a finished run, or its study file
    #[arg(value_name = "RUN|STUDY")]
    pub source: PathBuf,
    /// What to write
    pub what: ExportWhat,
    /// The file: a name that ends in .npz or .safetensors
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Only this layer; may be given again
    #[arg(long, value_name = "NAME")]
    pub layer: Vec<String>,
    /// Only this concept; may be given again
    #[arg(long, value_name = "NAME")]
    pub concept: Vec<String>,
    /// Only this kind of probe; may be given again
    #[arg(long, value_name = "NAME")]
    pub probe: Vec<String>,
    /// Only fit, val, test or out; may be given again
    #[arg(long, value_name = "PART", hide_possible_values = true)]
    pub split: Vec<ExportPart>,
    /// Where the run is.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportWhat {
    /// The directions, with their provenance
    Cavs,
    /// The activations that probes are fitted to and measured on, with labels and split
    Activations,
    /// The attribution maps, with the samples they are of
    Maps,
}

/// A part of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportPart {
    /// Probes are fitted on it
    Fit,
    /// Thresholds are chosen on it
    Val,
    /// Probes are measured on it
    Test,
    /// Left out between parts
    Out,
}

/// What `validate` takes.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The study or survey file (TOML)
    pub study: PathBuf,
    /// Change a key of the study: --set model.weights=PATH
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What `dataset` takes.
#[derive(Debug, Clone, Args)]
pub struct DatasetArgs {
    /// What to do
    #[command(subcommand)]
    pub what: DatasetWhat,
}

/// What can be done with a dataset.
#[derive(Debug, Clone, Subcommand)]
pub enum DatasetWhat {
    /// Read a study's labels and split, and say what they cannot answer; no network is run
    #[command(after_help = "Examples:\n  \
        cavern dataset check probes/camvid.toml --set dataset.root=CamVid\n  \
        cavern dataset check probes/quickstart.toml --json")]
    Check(CheckArgs),
}

/// What `dataset check` takes.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The study file (TOML)
    pub study: PathBuf,
    /// Change a key of the study: --set dataset.root=PATH
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// What `ls` takes.
#[derive(Debug, Clone, Args)]
pub struct LsArgs {
    /// What to list
    #[command(subcommand)]
    pub what: LsWhat,
    /// One JSON array, an object a row
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be listed.
#[derive(Debug, Clone, Subcommand)]
pub enum LsWhat {
    /// The networks cavern can build
    #[command(after_help = "Examples:\n  cavern ls models\n  cavern ls models --json")]
    Models,
    /// A network's layers and their shapes
    #[command(
        after_help = "Examples:\n  cavern ls layers elements_cnn\n  cavern ls layers resnet50 --match 'layer4.*'"
    )]
    Layers(LsLayers),
    /// The formats of datasets, and the keys that each needs in a study's dataset table
    #[command(after_help = "Examples:\n  cavern ls datasets\n  cavern ls datasets --json")]
    Datasets,
    /// The kinds of probe
    #[command(after_help = "Examples:\n  cavern ls probes\n  cavern ls probes --json")]
    Probes,
    /// The metrics: which way is better, what values they take, what they say
    #[command(after_help = "Examples:\n  cavern ls metrics\n  cavern ls metrics --json")]
    Metrics,
    /// The study and survey files of folders, and whether they are valid
    #[command(after_help = "Examples:\n  cavern ls studies\n  cavern ls studies probes --json")]
    Studies(LsStudies),
    /// The runs of a folder
    #[command(after_help = "Examples:\n  cavern ls runs\n  cavern ls runs --out runs --json")]
    Runs(LsRuns),
}

/// What `ls studies` takes.
#[derive(Debug, Clone, Args)]
pub struct LsStudies {
    /// Folders to look in, not below them [default: the current folder, and probes where there is one]
    #[arg(value_name = "DIR")]
    pub folders: Vec<PathBuf>,
}

/// What `ls runs` takes.
#[derive(Debug, Clone, Args)]
pub struct LsRuns {
    /// Folder for runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
}

/// What `ls layers` takes.
#[derive(Debug, Clone, Args)]
pub struct LsLayers {
    /// A name of `cavern ls models`
    pub model: String,
    /// Only layers that match this glob
    #[arg(long = "match", value_name = "GLOB", default_value = "*")]
    pub pattern: String,
    /// Weights file: safetensors, or torch's legacy checkpoint; it tells of classes and heads
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// Height and width of the input in pixels, where the network allows a choice
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
}

/// What `inspect` takes.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The file (ONNX)
    pub file: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// What `predict` takes.
#[derive(Debug, Clone, Args)]
pub struct PredictArgs {
    /// A name of `cavern ls models`
    pub model: String,
    /// Pictures (PNG or JPEG)
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// The weights file
    #[arg(long)]
    pub weights: Option<PathBuf>,
    /// Classes to name
    #[arg(long, default_value_t = 5)]
    pub top: usize,
    /// One JSON object a picture, on one line each
    #[arg(long)]
    pub json: bool,
}

/// What `profile` takes.
#[derive(Debug, Clone, Args)]
pub struct ProfileArgs {
    /// A name of `cavern ls models`
    pub model: String,
    /// The weights file [default: random weights, where none are built in]
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Pictures at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Runs of every layer; the fastest counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Time the gradient of every layer's inputs too
    #[arg(long)]
    pub gradient: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// One JSON object, times in seconds
    #[arg(long)]
    pub json: bool,
}

/// What `new` takes.
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// What to write
    #[command(subcommand)]
    pub what: NewWhat,
}

/// What can be written.
#[derive(Debug, Clone, Subcommand)]
pub enum NewWhat {
    /// A study: on a folder of pictures for every concept and a pretrained network, every line explained
    #[command(after_help = "Examples:\n  cavern new study\n  cavern new study example.toml --example")]
    Study(NewStudy),
    /// The JSON schema of study files: editors complete, explain and check keys by it
    #[command(after_help = "Examples:\n  cavern new schema\n  cavern new schema survey.schema.json --survey\n\n\
        Studies that `cavern new study` writes beside it name it in their first line; others are given that line by hand:\n\
        #:schema ./study.schema.json. The extension Even Better TOML of VS Code reads it, and the checker taplo.")]
    Schema(NewSchema),
}

/// What `new schema` takes.
#[derive(Debug, Clone, Args)]
pub struct NewSchema {
    /// The file to write; one that is there is never written over
    #[arg(default_value = "study.schema.json")]
    pub file: PathBuf,
    /// That of survey files instead
    #[arg(long)]
    pub survey: bool,
}

/// What `new study` takes.
#[derive(Debug, Clone, Args)]
pub struct NewStudy {
    /// The file to write; one that is there is never written over
    #[arg(default_value = "study.toml")]
    pub file: PathBuf,
    /// The quickstart instead, on pictures and a network that cavern brings along: it runs as it is
    #[arg(long)]
    pub example: bool,
}

/// What `completions` takes.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// What `man` takes.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Folder for a page of every command [default: the main page on stdout]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
