"""Writes checkpoints/: the same few tensors in every form that cavern reads.

`a.weight` is 0, 1.5, 3, ... in two rows of three, `a.bias` is -1 and 2.5, `steps` is 7. Where a form can say it,
`transposed` is a view of `a.weight`, and `column` every third of its numbers: all three share one storage. Where the form
has types, `half`, `brain`, `double`, `byte`, `short` and `flag` are `a.bias`, or what of it the type can hold.
"""
import json
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

OUT = Path(__file__).parent / "checkpoints"
OUT.mkdir(exist_ok=True)

weight = torch.arange(6.0).reshape(2, 3) * 1.5
bias = torch.tensor([-1.0, 2.5])
plain = OrderedDict([("a.weight", weight), ("a.bias", bias), ("steps", torch.tensor(7))])
views = {"transposed": weight.t(), "column": weight[:, 1]}
typed = {
    "half": bias.half(),
    "brain": bias.bfloat16(),
    "double": bias.double(),
    "byte": torch.tensor([1, 255], dtype=torch.uint8),
    "short": torch.tensor([-1, 2], dtype=torch.int16),
    "flag": torch.tensor([False, True]),
}
parameter = {"parameter": torch.nn.Parameter(bias.clone())}
full = OrderedDict(list(plain.items()) + list(views.items()) + list(typed.items()) + list(parameter.items()))
legacy = {"_use_new_zipfile_serialization": False}

torch.save(full, OUT / "zip.pth")
torch.save(full, OUT / "zip_protocol4.pth", pickle_protocol=4)
torch.save(full, OUT / "legacy.pth", **legacy)
torch.save(OrderedDict(list(plain.items()) + [("u", torch.tensor([1, 2], dtype=torch.uint16))]), OUT / "zip_v3.pth")
torch.save({"odd": torch.tensor([1j, 2j]), "wide": bias.expand(3, 2), **plain}, OUT / "zip_odd.pth")

with zipfile.ZipFile(OUT / "zip.pth") as stored, zipfile.ZipFile(
    OUT / "zip_deflated.pth", "w", zipfile.ZIP_DEFLATED
) as deflated:
    for name in stored.namelist():
        deflated.writestr(name, stored.read(name))

network = torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(3, 2)))
network.load_state_dict({"a.weight": weight, "a.bias": bias})
optimizer = torch.optim.Adam(network.parameters())
network(torch.ones(1, 3)).sum().backward()
optimizer.step()
network.load_state_dict({"a.weight": weight, "a.bias": bias})
training = {
    "epoch": 3,
    "loss": 0.25,
    "best": np.float64(0.5),
    "time": torch.tensor(1.5),
    "state_dict": {f"module.{k}": v for k, v in network.state_dict().items()},
    "optimizer": optimizer.state_dict(),
    "rng_state": torch.tensor([1, 2, 3], dtype=torch.uint8),
}
torch.save(training, OUT / "training.pth")
teacher = {f"backbone.{k}": v for k, v in plain.items()}
torch.save({"student": {k: v * 0 for k, v in teacher.items()}, "teacher": teacher, "epoch": 1}, OUT / "two.pth")
torch.save(torch.nn.Linear(3, 2), OUT / "whole_network.pth")

arrays = {k: v.numpy() for k, v in plain.items()}
arrays |= {"half": bias.half().numpy(), "double": bias.double().numpy(), "byte": typed["byte"].numpy()}
arrays |= {"transposed": np.asfortranarray(arrays["a.weight"].T), "big": arrays["a.bias"].astype(">f4")}
np.savez(OUT / "plain.npz", **arrays)
np.savez_compressed(OUT / "compressed.npz", zeros=np.zeros(5000, np.float32), **arrays)

save_file({**plain, **typed}, OUT / "one.safetensors")
shards = {"model-00001-of-00002.safetensors": ["a.weight"], "model-00002-of-00002.safetensors": ["a.bias", "steps"]}
sharded = OUT / "sharded"
sharded.mkdir(exist_ok=True)
for file, names in shards.items():
    save_file({name: plain[name] for name in names}, sharded / file)
index = {"metadata": {"total_size": 40}, "weight_map": {n: file for file, names in shards.items() for n in names}}
(sharded / "model.safetensors.index.json").write_text(json.dumps(index))
