# The common loops. `just` lists them.
default:
    @just --list

# What the gate runs
gate:
    .ci/run

# Format, lint and test
check:
    cargo fmt
    cargo clippy --release --all-targets
    cargo test --release

# The study on embedded data
quickstart:
    cargo run --release -- run probes/quickstart.toml

# Make the study reference and the schemas anew from the types
reference:
    CAVERN_BOOK=write cargo test --release --test book what_is_made

# The book as pages in target/book; needs mdbook
book: reference
    mdbook build docs

# Fetch real weights and photographs, and run the tests that need them
real assets="assets":
    tests/fetch-assets.sh {{assets}}
    CAVERN_ASSETS={{assets}} cargo test --release -- --ignored real

# The report in a real browser; pictures of it go to a folder
browser shots="":
    tests/browser/run "" {{shots}}

# Make reports/example again
example:
    reports/example/make

# The engine's speed: whole networks and each operation; a name chooses
bench *names:
    cargo bench --bench engine -- {{names}}

# The engine against PyTorch, which has to be installed
versus *options:
    python3 benches/versus_pytorch.py {{options}}

# The tables of docs/performance.md: speed by batch size and threads, memory by the size of the picture
scaling:
    cargo bench --bench engine -- --scaling
