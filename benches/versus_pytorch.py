#!/usr/bin/env python3
"""Runs cavern and PyTorch alternately on the same weights and inputs, and prints how they compare.

    python3 benches/versus_pytorch.py                           every case in f32
    python3 benches/versus_pytorch.py --cases 'resnet50*' --rounds 3
    python3 benches/versus_pytorch.py --bf16                    the bf16 cases
    python3 benches/versus_pytorch.py --device cuda             on a GPU, with larger batches
    python3 benches/versus_pytorch.py --markdown                the table of docs/performance.md

A round is some runs of PyTorch and then as many of cavern; the ratio is taken within each round, so that a machine that
slows down slows both. Each side is a process of its own with the same number of threads. PyTorch is taken at its best:
evaluation mode without a graph (or, for gradients, with constant weights), and before each case the fastest form is
looked for among NCHW and channels_last memory, batch norms as they are and folded into their convolutions. Attention is
PyTorch's fused one. On a GPU both compute in f32: PyTorch's TF32, on by default in convolutions, is off.

Nothing is installed. Weights are random, with the batch norms' statistics measured on noise.
"""

import argparse
import datetime
import fnmatch
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    import torchvision
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    from vit import Vit
except ImportError as error:
    print(f"versus_pytorch.py: {error}\nhelp: pip install numpy torch torchvision", file=sys.stderr)
    sys.exit(2)

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20


@dataclass(frozen=True)
class Case:
    model: str
    what: str  # forward, or gradient: forward and the gradient to the input of the last layer's sum
    batch: int
    precision: str = "f32"

    @property
    def name(self):
        return f"{self.model}/{self.what}/{self.batch}" + ("" if self.precision == "f32" else f"/{self.precision}")

    @property
    def layer(self):
        return "class_token" if self.model.startswith("vit") else "logits"


CASES = [
    Case("resnet50", "forward", 8),
    Case("resnet18", "forward", 8),
    Case("efficientnet_lite0", "forward", 16),
    Case("vit_small_patch14", "forward", 8),
    Case("resnet50", "gradient", 1),
    Case("resnet50", "gradient", 4),
    Case("efficientnet_lite0", "gradient", 8),
    Case("vit_small_patch14", "gradient", 4),
]
CUDA_CASES = [
    Case("resnet50", "forward", 64),
    Case("resnet18", "forward", 64),
    Case("efficientnet_lite0", "forward", 64),
    Case("vit_small_patch14", "forward", 64),
    Case("resnet50", "gradient", 16),
    Case("efficientnet_lite0", "gradient", 16),
    Case("vit_small_patch14", "gradient", 16),
]
DEVICE_CASES = {"cpu": CASES, "cuda": CUDA_CASES}
BF16_CASES = [Case("resnet50", "forward", 8, "bf16"), Case("vit_small_patch14", "forward", 8, "bf16")]


# The networks in PyTorch, with the names of their published checkpoints.


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for kernels that are not smaller than their stride."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, bias=False, **kwargs)
        if self.stride == (1, 1):
            self.padding = (self.kernel_size[0] // 2, self.kernel_size[1] // 2)

    def forward(self, x):
        if self.stride == (1, 1):
            return super().forward(x)
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        inner = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        if expansion > 1:
            self._expand_conv = SameConv2d(inputs, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, eps=1e-3)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, eps=1e-3)
        self._project_conv = SameConv2d(inner, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x):
        y = x
        if hasattr(self, "_expand_conv"):
            y = F.relu6(self._bn0(self._expand_conv(y)), inplace=True)
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return y + x if self.residual else y


class EfficientNetLite0(nn.Module):
    # Blocks, kernel, stride of the first, expansion, channels out.
    STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)]
    STAGES += [(3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]

    def __init__(self):
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, inputs = [], 32
        for count, kernel, first, expansion, outputs in self.STAGES:
            for i in range(count):
                blocks.append(InvertedResidual(inputs, outputs, kernel, first if i == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        x = F.relu6(self._bn1(self._conv_head(self._blocks(x))), inplace=True)
        return self._fc(x.mean((2, 3)))


NETWORKS = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "efficientnet_lite0": EfficientNetLite0,
    "vit_small_patch14": Vit,
}


def randomise(model):
    """Scales, shifts and embeddings that are not trivial; then each batch norm's statistics on noise."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("gamma"):
                tensor.uniform_(0.1, 0.5)
            elif tensor.dim() == 1 and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() == 1:
                tensor.normal_(std=0.1)
            elif name.endswith(("token", "embed")):
                tensor.normal_(std=0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain mean over batches
        model.train()(torch.randn(8, 3, 224, 224))
    return model.eval()


def save(tensors, path):
    """The safetensors format: length of the header, the header as JSON, the values."""
    header, values, at = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        values.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(values))


def load_tensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, info in json.loads(data[8:start]).items():
        first, end = info["data_offsets"]
        values = np.frombuffer(data, np.float32, (end - first) // 4, start + first)
        found[name] = torch.from_numpy(values.reshape(info["shape"]).copy())
    return found


def fold(module):
    """Folds every batch norm into the convolution registered before it."""
    last = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and last and isinstance(last[1], nn.Conv2d):
            setattr(module, last[0], fuse_conv_bn_eval(last[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold(child)
        last = (name, child)


# PyTorch's side: the commands of benches/versus.rs, and a form as load's last word.

FORMS = ["channels_last+folded", "channels_last", "nchw+folded", "nchw"]


def forms(case):
    return ["sdpa"] if case.model.startswith("vit") else FORMS


class Server:
    def load(self, name, weights, precision, device, form):
        model = NETWORKS[name]()
        model.load_state_dict(load_tensors(Path(weights)), strict=False)
        model.eval().requires_grad_(False)
        parts = form.split("+")
        if "folded" in parts:
            fold(model)
        self.format = torch.channels_last if "channels_last" in parts else torch.contiguous_format
        self.model, self.precision, self.device = model.to(device, memory_format=self.format), precision, device
        Path("/proc/self/clear_refs").write_text("5")  # the system counts the peak anew
        return "ok"

    def forward(self, source, target, _layer, runs):
        return self.time(source, target, runs, torch.inference_mode(), lambda x: self.model(x))

    def gradient(self, source, target, _layer, runs):
        def step(x):
            x.requires_grad_()
            return torch.autograd.grad(self.model(x).sum(), x)[0]

        return self.time(source, target, runs, torch.enable_grad(), step)

    def time(self, source, target, runs, mode, run):
        x = torch.from_numpy(np.load(source)).to(self.device).contiguous(memory_format=self.format)
        seconds = []
        with mode, torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            result = run(x)
            for _ in range(int(runs)):
                del result
                self.wait()
                start = time.perf_counter()
                result = run(x)
                self.wait()
                seconds.append(time.perf_counter() - start)
        np.save(target, result.float().contiguous().detach().cpu().numpy())
        return "seconds " + " ".join(map(str, seconds))

    def wait(self):
        if self.device != "cpu":
            torch.cuda.synchronize()

    def peak(self):
        status = Path("/proc/self/status").read_text()
        line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
        kib = int(line.split()[1]) if line else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return f"peak {kib * 1024}"


def serve(threads):
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    server = Server()
    for line in sys.stdin:
        command, *words = line.split()
        try:
            print(getattr(server, command)(*words), flush=True)
        except Exception as error:  # every failure is the driver's to report
            print("error", repr(error).replace("\n", " "), flush=True)


# The driver.


class Side:
    """One process that answers a line by a line."""

    def __init__(self, command, threads):
        counts = {n: str(threads) for n in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.name = Path(command[-1]).name if len(command) == 1 else "PyTorch"
        self.process = subprocess.Popen(command, text=True, env={**os.environ, **counts}, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer or answer[0] == "error":
            raise RuntimeError(f"{self.name}, {words[0]}: {' '.join(answer[1:]) or 'the process ended'}")
        return answer[1:]

    def seconds(self, case, source, target, runs):
        return statistics.median(map(float, self.ask(case.what, source, target, case.layer, runs)))

    def peak(self):
        return int(self.ask("peak")[0])


def build(bench="versus", device="cpu"):
    """Builds a benchmark and returns its executable."""
    features = ["--features", "cuda"] if device != "cpu" else []
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format=json", *features]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    found = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == bench]
    return found[-1]


def compare(case, folder, options):
    """The measurements of one case."""
    weights, source = folder / f"{case.model}.safetensors", folder / f"input{case.batch}.npy"
    if not weights.exists():
        torch.manual_seed(0)
        state = randomise(NETWORKS[case.model]()).state_dict()
        save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, weights)
    if not source.exists():
        np.save(source, np.random.default_rng(0).standard_normal((case.batch, 3, 224, 224), np.float32))
    targets = [folder / "pytorch.npy", folder / "cavern.npy"]
    child = [sys.executable, str(Path(__file__).resolve()), "--serve", "--threads", str(options.threads)]
    tried = {}
    for form in forms(case):
        with Side(child, options.threads) as side:
            side.ask("load", case.model, weights, case.precision, options.device, form)
            tried[form] = side.seconds(case, source, targets[0], options.runs)
    form = min(tried, key=tried.get)
    with Side(child, options.threads) as pytorch, Side([str(options.binary)], options.threads) as cavern:
        pytorch.ask("load", case.model, weights, case.precision, options.device, form)
        cavern.ask("load", case.model, weights, case.precision, options.device)
        rounds = []
        for number in range(options.rounds):
            pair = [side.seconds(case, source, t, options.runs) for side, t in zip((pytorch, cavern), targets)]
            rounds.append(pair)
            print(f"{case.name} round {number + 1}: {pair[0]:.4f} s, {pair[1]:.4f} s", file=sys.stderr)
        peaks = [pytorch.peak(), cavern.peak()]
    results = [np.load(t) for t in targets]
    truth = exact(case, weights, source) if options.exact else None
    ratios = [p / c for p, c in rounds]
    return {
        "case": case.name,
        "batch": case.batch,
        "what": case.what,
        "form": form,
        "tried_seconds": tried,
        "rounds_seconds": rounds,
        "seconds": [statistics.median(r[i] for r in rounds) for i in (0, 1)],
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "peak_bytes": peaks,
        "difference": difference(results[1], results[0]),
        "errors": [difference(r, truth) for r in results] if options.exact else [],
    }


def exact(case, weights, source):
    """The result in f64."""
    model = NETWORKS[case.model]()
    model.load_state_dict(load_tensors(weights), strict=False)
    model.double().eval().requires_grad_(False)
    x = torch.from_numpy(np.load(source).astype(np.float64)).requires_grad_(case.what == "gradient")
    y = model(x)
    return (torch.autograd.grad(y.sum(), x)[0] if case.what == "gradient" else y).numpy()


def difference(got, wanted):
    return float(np.abs(got.astype(np.float64) - wanted).max() / np.abs(wanted).max())


HEAD = ["case", "PyTorch's form", "PyTorch", "cavern", "ratio", "range", "peak PyTorch", "peak cavern", "difference"]
EXACT_HEAD = ["error PyTorch", "error cavern"]


def row(result):
    def speed(seconds):
        return f"{result['batch'] / seconds:.1f} im/s" if result["what"] == "forward" else f"{1e3 * seconds:.1f} ms"

    low, high = result["ratio_range"]
    peaks = [f"{b / MIB:.0f} MiB" for b in result["peak_bytes"]]
    return [
        result["case"],
        result["form"],
        *map(speed, result["seconds"]),
        f"{result['ratio']:.2f}x",
        f"{low:.2f}-{high:.2f}",
        *peaks,
        f"{result['difference']:.1e}",
        *(f"{e:.1e}" for e in result["errors"]),
    ]


def machine(threads, device="cpu"):
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    cores = f"{os.cpu_count()} cores, {threads} threads each, PyTorch {torch.__version__}"
    if device != "cpu":
        model += f" with {torch.cuda.get_device_name()}"
    return f"{datetime.date.today()}, {model}, {cores}, cavern {commit.stdout.strip() or 'of no commit'}"


def show(results, options):
    print(machine(options.threads, options.device))
    print("PyTorch is the fastest of its forms. ratio = PyTorch's time / cavern's; above 1 cavern is faster.")
    print("difference: the largest between the results, relative to the largest value.\n")
    rows = [HEAD + (EXACT_HEAD if options.exact else []), *map(row, results)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for number, cells in enumerate(rows):
        cells = [c.ljust(w) for c, w in zip(cells, widths)]
        print("| " + " | ".join(cells) + " |" if options.markdown else "  ".join(cells).rstrip())
        if options.markdown and number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    if options.all:
        print("\nEvery form of PyTorch, ms a run:")
        for r in results:
            times = ", ".join(f"{form} {1e3 * s:.1f}" for form, s in r["tried_seconds"].items())
            print(f"{'- ' if options.markdown else ''}{r['case']}: {times}")


def main():
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--cases", default="*", metavar="GLOB", help="only cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the cases' names")
    parser.add_argument("--bf16", action="store_true", help="the bf16 cases (PyTorch: autocast)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--all", action="store_true", help="tell the time of every form of PyTorch")
    parser.add_argument("--exact", action="store_true", help="compare both results with PyTorch's in f64 too")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=5, help="runs of each side in a round; their median counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=Path, help="the built benchmark [default: cargo builds it]")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.threads)
    cases = [c for c in (BF16_CASES if options.bf16 else DEVICE_CASES[options.device]) if fnmatch.fnmatch(c.name, options.cases)]
    if options.list or not cases:
        print("\n".join(c.name for c in (cases or CASES + BF16_CASES)))
        return None if options.list else parser.error(f"no case matches {options.cases}: the cases are listed above")
    options.binary = options.binary or build(device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(case, Path(folder), options) for case in cases]
    show(results, options)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(options.threads, options.device), "results": results}, indent=1))


if __name__ == "__main__":
    main()
