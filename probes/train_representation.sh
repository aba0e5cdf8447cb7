#!/bin/sh
# Trains the networks of probes/representation.toml: small ones of three families by width and depth on Fashion-MNIST, and a
# head of the ViT-S/14 on tiles of CamVid. What is there already is not trained again.
#
#     probes/train_representation.sh FASHION-MNIST CAMVID DINOV2-WEIGHTS [OUT]
#
# CAVERN names another command than `cargo run --release --`.
set -eu
fashion=$1 camvid=$2 dinov2=$3 out=${4:-nets}
cavern=${CAVERN:-cargo run --release --}

small() { # FOLDER MODEL EPOCHS CHOICES…
    folder=$out/$1 model=$2 epochs=$3
    shift 3
    [ -e "$folder/$model.safetensors" ] && return
    echo "$folder"
    # shellcheck disable=SC2086
    $cavern train probes/train_fashion_mnist.toml --out "$folder" --set dataset.root="$fashion" --set dataset.count=14000 \
        --set model.name="$model" --set train.epochs="$epochs" --set train.optimiser=adam --set train.learning_rate=0.002 "$@"
}

small vgg-8 vgg_mini 3 --set model.width=8
small vgg-16 vgg_mini 3 --set model.width=16
small resnet-8 resnet8 3 --set model.width=8
small resnet-16 resnet8 3
small vit-32 vit_mini 8 --set model.width=32
small vit-64-2 vit_mini 8 --set model.depth=2
small vit-64 vit_mini 8
small vgg-32 vgg_mini 3 --set model.width=32
small resnet-20 resnet20 3
small vit-64-8 vit_mini 8 --set model.depth=8
small vit-128 vit_mini 8 --set model.width=128

if [ ! -e "$out/camvid/vit_small_patch14.head.safetensors" ]; then
    # shellcheck disable=SC2086
    $cavern train probes/train_camvid_head.toml --out "$out/camvid" --set dataset.root="$camvid" --set model.weights="$dinov2"
fi
