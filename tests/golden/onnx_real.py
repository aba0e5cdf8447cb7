"""Makes onnx_real.npz: three layers of two published networks, by onnxruntime.

python onnx_real.py ASSETS     the folder that tests/fetch-assets.sh fills; needs onnx, onnxruntime

The input is sin(0.37 (i mod 1013) + 0.0001 i), i counting `[channel, height, width]`. Of each layer every n-th value is
kept, `[channel, height, width]` where the file has channels last, and the sum and the sum of sizes.
"""

import glob
import os
import sys

import numpy as np
import onnx
import onnxruntime

SAMPLES = 1500
LAYERS = {
    "open_nsfw": ["/Relu_9_output_0", "/Relu_48_output_0", "4195"],
    "vit_s_focus": ["/backbone/encoder/layer.5/Add_1_output_0", "/backbone/layernorm/Add_1_output_0", "output_importance"],
    # At the size of its position embeddings, so that no rule of resampling them counts: DINOv2's is another.
    "vit_s_focus@518": ["/backbone/encoder/layer.5/Add_1_output_0", "/backbone/layernorm/Add_1_output_0"],
}


def scene(size):
    i = np.arange(3 * size * size)
    return np.sin(0.37 * (i % 1013) + 0.0001 * i).astype(np.float32).reshape(1, 3, size, size)


def main(assets):
    kept = {"samples": np.array([SAMPLES])}
    for name, layers in LAYERS.items():
        file, _, size = name.partition("@")
        (path,) = glob.glob(os.path.join(assets, "*", "**", f"{file}.onnx"), recursive=True)
        model = onnx.load(path)
        known = {o.name for o in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=layer) for layer in layers if layer not in known)
        if size:
            for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
                side.dim_value = int(size)
            del model.graph.value_info[:]
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        last = session.get_inputs()[0].shape[-1] == 3
        x = scene(int(size or 224))
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
        for layer, y in zip(layers, session.run(layers, {session.get_inputs()[0].name: x})):
            y = y.transpose(0, 3, 1, 2) if last and y.ndim == 4 else y
            values = y.ravel()
            key = f"{name}:{layer.replace('/', '|')}"
            kept[f"{key}.values"] = values[:: -(-len(values) // SAMPLES)]
            kept[f"{key}.sums"] = np.array([values.sum(dtype=np.float64), np.abs(values).sum(dtype=np.float64)])
            print(name, layer, y.shape, kept[f"{key}.sums"])
    np.savez(__file__.replace(".py", ".npz"), **kept)


if __name__ == "__main__":
    main(sys.argv[1])
