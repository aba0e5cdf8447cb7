#!/usr/bin/env python3
"""Maximises the same units of the same network by Lucent and by cavern, alternately, and prints how long they take.

    python3 benches/versus_lucent.py                     ResNet-50 at 224 pixels: a channel of layer2, layer3, layer4
    python3 benches/versus_lucent.py --batch             16 pictures at once against one by one, in cavern
    python3 benches/versus_lucent.py --device cuda       the same on a GPU
    python3 benches/versus_lucent.py --markdown          the table of docs/performance.md

Both make the same number of steps on one picture with Lucid's transforms, Adam and a Fourier parameterisation. Lucent's
transforms leave 248 pixels; it is told to resize them to 224, what cavern's network sees. Lucent runs the whole network and
takes gradients of its weights too, unless they are frozen: `--frozen` freezes them, which its users rarely do. cavern looks
at the unshaken picture every eighth step beside. Each side is a process of its own with the same number of threads; the
ratio is taken within each round.
"""

import argparse
import fnmatch
import statistics
import sys
import tempfile
import time
from pathlib import Path

try:
    import torch
    import torchvision
    from lucent.optvis import param, render
    from versus_pytorch import MIB, NETWORKS, Side, build, machine, randomise, save
except ImportError as error:
    print(f"versus_lucent.py: {error}\nhelp: pip install torch torchvision torch-lucent", file=sys.stderr)
    sys.exit(2)

SIZE = 224
# A layer by its names there and here: the last block of a stage of ResNet-50.
LAYERS = ["layer2=layer2.3", "layer3=layer3.5", "layer4=layer4.2"]
# What is rendered for --batch, from small networks to large: a network and units of it.
BATCHES = {
    "elements_cnn": ["conv4:3", "conv6:3"],
    "efficientnet_lite0": ["blocks.4:12", "blocks.9:12"],
    "vit_small_patch14": ["blocks.6.mlp.fc1:12"],
    "resnet50": ["layer2.3:12", "layer3.5:12", "layer4.2:12"],
}


def serve(threads):
    """Answers `load MODEL WEIGHTS FROZEN DEVICE`, `maximise LAYER CHANNEL STEPS` and `peak`."""
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    model = None
    for line in sys.stdin:
        command, *words = line.split()
        try:
            if command == "load":
                model = getattr(torchvision.models, words[0])(weights=None)
                model.load_state_dict(load_file(words[1]), strict=False)
                model.eval().requires_grad_(words[2] != "True").to(words[3])
                Path("/proc/self/clear_refs").write_text("5")
                print("ok", flush=True)
            elif command == "maximise":
                layer, channel, steps = words[0], words[1], int(words[2])
                start = time.perf_counter()
                render.render_vis(model, f"{layer}:{channel}", lambda: param.image(SIZE), thresholds=(steps,),
                                  show_image=False, progress=False, fixed_image_size=SIZE)
                print("seconds", time.perf_counter() - start, flush=True)
            elif command == "peak":
                status = Path("/proc/self/status").read_text()
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
                print("peak", int(peak.split()[1]) * 1024, flush=True)
        except Exception as error:  # every failure is the driver's to report
            print("error", repr(error).replace("\n", " "), flush=True)


def names(layers):
    """The names of layers in Lucent and in cavern."""
    return [(text.split("=")[0], text.split("=")[-1]) for text in layers]


def random_weights(model, folder):
    """A file of random weights, or `-` for the network that cavern has the weights of."""
    if model not in NETWORKS:
        return "-"
    path = folder / f"{model}.safetensors"
    torch.manual_seed(0)
    state = randomise(NETWORKS[model]()).state_dict()
    save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    return path


def versus(options, folder):
    weights = random_weights(options.model, folder)
    child = [sys.executable, str(Path(__file__).resolve()), "--serve", "--threads", str(options.threads)]
    rows = []
    for layer, node in names(options.layers):
        rounds = []
        with Side(child, options.threads) as lucent, Side([str(options.binary)], options.threads) as cavern:
            lucent.ask("load", options.model, weights, options.frozen, options.device)
            cavern.ask("load", options.model, weights, "f32", options.device)
            # Once before the clock counts.
            lucent.ask("maximise", layer, options.channel, 2)
            cavern.ask("maximise", f"{node}:{options.channel}", 2, 1, 1)
            for number in range(options.rounds):
                theirs = float(lucent.ask("maximise", layer, options.channel, options.steps)[0])
                ours = float(cavern.ask("maximise", f"{node}:{options.channel}", options.steps, 1, 1)[0])
                rounds.append((theirs, ours))
                print(f"{layer} round {number + 1}: {theirs:.2f} s, {ours:.2f} s", file=sys.stderr)
            peaks = [int(side.ask("peak")[0]) / MIB for side in (lucent, cavern)]
        ratios = [a / b for a, b in rounds]
        step = [1e3 * statistics.median(r[i] for r in rounds) / options.steps for i in (0, 1)]
        rows.append([f"{options.model} {layer}:{options.channel}", f"{step[0]:.0f} ms", f"{step[1]:.0f} ms",
                     f"{statistics.median(ratios):.2f}x", f"{min(ratios):.2f}-{max(ratios):.2f}",
                     f"{peaks[0]:.0f} MiB", f"{peaks[1]:.0f} MiB"])
    return ["unit", "Lucent, a step", "cavern, a step", "ratio", "range", "peak Lucent", "peak cavern"], rows


def batch(options, folder):
    rows = []
    for model, units in BATCHES.items():
        if not fnmatch.fnmatch(model, options.model):
            continue
        weights = random_weights(model, folder)
        for unit in units:
            rounds = []
            with Side([str(options.binary)], options.threads) as cavern:
                cavern.ask("load", model, weights, "f32", options.device)
                cavern.ask("maximise", unit, 2, 16, 16)  # once before the clock counts
                for number in range(options.rounds):
                    seconds = [float(cavern.ask("maximise", unit, options.steps, 16, size)[0]) for size in (1, 16)]
                    rounds.append(seconds)
                    print(f"{model} {unit} round {number + 1}: {seconds[0]:.2f} s, {seconds[1]:.2f} s", file=sys.stderr)
                peak = int(cavern.ask("peak")[0]) / MIB
            ratios = [a / b for a, b in rounds]
            one, all_ = (statistics.median(r[i] for r in rounds) for i in (0, 1))
            rows.append([f"{model} {unit}", f"{one:.1f} s", f"{all_:.1f} s", f"{statistics.median(ratios):.2f}x",
                         f"{min(ratios):.2f}-{max(ratios):.2f}", f"{peak:.0f} MiB"])
    return ["unit", "16 one by one", "16 at once", "ratio", "range", "peak"], rows


def show(head, rows, markdown):
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for number, cells in enumerate([head, *rows]):
        cells = [c.ljust(w) for c, w in zip(cells, widths)]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip())
        if markdown and number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|")


def main():
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("--model", help="a model of torchvision that cavern has too; with --batch a pattern")
    parser.add_argument("--layers", nargs="+", default=LAYERS, metavar="LUCENT=CAVERN")
    parser.add_argument("--channel", type=int, default=12)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--frozen", action="store_true", help="freeze Lucent's weights")
    parser.add_argument("--batch", action="store_true", help="cavern alone: at once against one by one")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--binary", type=Path, help="the built benchmark [default: cargo builds it]")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.threads)
    options.model = options.model or ("*" if options.batch else "resnet50")
    options.binary = options.binary or build(device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        print(f"{machine(options.threads, options.device)}, {options.steps} steps")
        show(*(batch if options.batch else versus)(options, Path(folder)), options.markdown)


if __name__ == "__main__":
    main()
