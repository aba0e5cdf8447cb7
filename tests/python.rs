//! The Python of docs/python.md, run from the first block to the last with numpy alone.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::Path;
use std::process::Command;

/// A fenced block: what stands behind its fence, and its text.
fn blocks(text: &str) -> Vec<(Vec<&str>, String)> {
    let mut blocks: Vec<(Vec<&str>, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(words) => {
                blocks.push((words.split_whitespace().collect(), String::new()));
                inside = true;
            }
            None if inside => {
                if let Some((_, block)) = blocks.last_mut() {
                    block.extend([line, "\n"]);
                }
            }
            None => {}
        }
    }
    blocks
}

/// One script of all blocks: Python as it stands, a shell's through `sh`, a study into the file that its first line names.
/// Python marked with a package is left out unless `extras` has it.
fn script(text: &str, extras: &[String]) -> String {
    let quoted = |block: &str| serde_json::to_string(block).unwrap();
    let lines = |(words, block): (Vec<&str>, String)| match words[..] {
        ["python"] => block,
        ["python", package] if extras.iter().any(|e| e == package) => block,
        ["python", _] => String::new(),
        ["sh"] => format!("import subprocess; subprocess.run(['sh', '-ec', {}], check=True)\n", quoted(&block)),
        ["toml"] => {
            let name = block.lines().next().and_then(|l| l.strip_prefix("# ")).unwrap();
            format!("open('{name}', 'w').write({})\n", quoted(&block))
        }
        _ => panic!("a block of {words:?}"),
    };
    blocks(text).into_iter().map(lines).collect()
}

/// Needs numpy in `CAVERN_ASSETS`; `CAVERN_PYTHON=torch,pandas` runs the blocks with that mark, too.
#[test]
#[ignore = "needs CAVERN_ASSETS"]
fn real_python_of_the_docs_runs() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/python.md")).unwrap();
    let assets = std::env::var("CAVERN_ASSETS").expect("CAVERN_ASSETS is the folder that tests/fetch-assets.sh fills");
    let extras: Vec<String> =
        std::env::var("CAVERN_PYTHON").iter().flat_map(|e| e.split(',')).map(str::to_owned).collect();
    let numpy = Path::new(&assets).join("numpy");
    assert!(numpy.is_dir(), "{} is not there: run tests/fetch-assets.sh", numpy.display());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("path.py"), script(&text, &extras)).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_cavern")).parent().unwrap().display().to_string();
    let mut python = Command::new("python3");
    python.arg("path.py").current_dir(dir.path());
    python.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
    let others = std::env::var("PYTHONPATH").unwrap_or_default();
    python.env("PYTHONPATH", format!("{}:{others}", numpy.display()));
    let output = python.output().unwrap();
    let [said, failed] = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(output.status.success(), "{said}\n{failed}");
    println!("{said}");
}

#[test]
fn a_block_is_run_by_its_mark() {
    let text = "a\n```python\nx = 1\n```\n```python torch\nimport torch\n```\n```toml\n# s.toml\n```\n```sh\necho \"a\"\n```\n";
    let alone = script(text, &[]);
    assert!(alone.starts_with("x = 1\nopen('s.toml', 'w')") && alone.contains("echo \\\"a\\\"\\n"), "{alone}");
    assert!(script(text, &["torch".to_owned()]).contains("import torch"));
}
