"""Makes onnx_operators.npz: small ONNX models, one input each, and what onnxruntime gives for them.

python onnx_operators.py     needs onnx, onnxruntime

Of every model are kept its bytes, its input, with a batch of two where the model leaves the batch free, else of one, and
its output, a row for each of the batch: all in one array each, with their lengths and shapes.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)
KEPT = {}


def weights(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def keep(name, nodes, shape, constants=None, opset=17, free=True, positive=False):
    """Nodes from `x` to `y`; shape is that of one picture. The result is flattened, which puts its axes in order."""
    constants = {k: np.asarray(v) for k, v in (constants or {}).items()}
    for part in nodes:
        part.output[:] = ["z" if name == "y" else name for name in part.output]
    nodes = [*nodes, helper.make_node("Reshape", ["z", "flat"], ["y"], name="last")]
    constants["flat"] = ints(0, -1)
    dims = ["batch" if free else 1, *shape]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="golden")
    # Not at a kink.
    x = weights(2 if free else 1, *shape)
    x = np.sign(x) * (np.float32(0.95) * np.abs(x) + np.float32(0.05))
    if positive:
        x = np.abs(x) + np.float32(0.2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": x})
    KEPT[name] = (model.SerializeToString(), x, y.astype(np.float32))


def single(name, op, shape, constants=None, opset=17, positive=False, inputs=None, **attributes):
    names = inputs or ["x", *(constants or {})]
    keep(name, [node(op, names, ["y"], **attributes)], shape, constants, opset, positive=positive)


def convolutions():
    one = {"w": weights(6, 4, 3, 3), "b": weights(6)}
    single("conv", "Conv", (4, 7, 8), one, pads=[1, 1, 1, 1])
    single("conv_odd", "Conv", (4, 9, 8), one, pads=[0, 1, 2, 0], strides=[2, 2], dilations=[2, 2])
    single("conv_strides", "Conv", (4, 9, 8), one, strides=[2, 1], pads=[1, 0, 1, 0])
    single("conv_dilations", "Conv", (4, 9, 8), one, dilations=[1, 2])
    single("conv_upper", "Conv", (4, 8, 7), one, strides=[2, 2], auto_pad="SAME_UPPER")
    single("conv_lower", "Conv", (4, 8, 7), one, strides=[2, 2], auto_pad="SAME_LOWER")
    single("conv_valid", "Conv", (4, 8, 7), one, auto_pad="VALID")
    single("conv_groups", "Conv", (4, 7, 8), {"w": weights(6, 2, 3, 3)}, group=2)
    single("conv_depthwise", "Conv", (4, 7, 8), {"w": weights(8, 1, 3, 3)}, group=4, pads=[1, 1, 1, 1])
    single("conv_line", "Conv", (4, 9), {"w": weights(6, 4, 3), "b": weights(6)}, strides=[2], pads=[1, 0], dilations=[2])
    single("up", "ConvTranspose", (4, 5, 6), {"w": weights(4, 3, 4, 4), "b": weights(3)}, strides=[2, 2], pads=[1, 1, 1, 1])
    single(
        "up_odd", "ConvTranspose", (4, 5, 6), {"w": weights(4, 3, 3, 2)},
        strides=[3, 2], pads=[1, 0, 0, 1], output_padding=[1, 1], group=2, dilations=[2, 1],
    )
    single("up_cut", "ConvTranspose", (2, 5, 5), {"w": weights(2, 3, 2, 2)}, strides=[1, 1], pads=[2, 2, 2, 1])
    single("up_line", "ConvTranspose", (4, 5), {"w": weights(4, 3, 4)}, strides=[2])


def poolings():
    for op in ("MaxPool", "AveragePool"):
        short = "max" if op == "MaxPool" else "mean"
        single(f"{short}", op, (3, 8, 9), kernel_shape=[2, 2], strides=[2, 2])
        single(f"{short}_pads", op, (3, 8, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        single(f"{short}_odd", op, (3, 8, 9), kernel_shape=[3, 2], strides=[2, 1], pads=[0, 1, 1, 0])
        single(f"{short}_ceil", op, (3, 8, 9), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        single(f"{short}_ceil_pads", op, (3, 8, 7), kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
        single(f"{short}_same", op, (3, 8, 7), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
        single(f"{short}_line", op, (3, 9), kernel_shape=[3], strides=[2])
    single("mean_counted", "AveragePool", (3, 8, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    single("mean_global", "GlobalAveragePool", (3, 5, 4))
    single("max_global", "GlobalMaxPool", (3, 5, 4))
    single("mean_global_line", "GlobalAveragePool", (3, 5))


def pointwise():
    for op in ("Neg", "Abs", "Sign", "Exp", "Erf", "Sin", "Cos", "Tanh", "Sigmoid", "Softplus", "Softsign", "Relu"):
        single(f"each_{op}", op, (2, 3, 4))
    single("each_HardSwish", "HardSwish", (2, 3, 4))
    single("each_Mish", "Mish", (2, 3, 4), opset=18)
    for op in ("Sqrt", "Log", "Reciprocal"):
        single(f"each_{op}", op, (2, 3, 4), positive=True)
    single("each_LeakyRelu", "LeakyRelu", (2, 3, 4), alpha=0.2)
    single("each_Elu", "Elu", (2, 3, 4), alpha=0.7)
    single("each_Selu", "Selu", (2, 3, 4))
    single("each_Celu", "Celu", (2, 3, 4), alpha=1.4)
    single("each_HardSigmoid", "HardSigmoid", (2, 3, 4), alpha=0.3)
    single("each_Gelu", "Gelu", (2, 3, 4), opset=20)
    single("each_GeluTanh", "Gelu", (2, 3, 4), opset=20, approximate="tanh")
    single("clip", "Clip", (2, 3, 4), {"low": np.float32(-0.3), "high": np.float32(0.4)})
    single("clip_low", "Clip", (2, 3, 4), {"low": np.float32(0.1)})
    single("clip_attributes", "Clip", (2, 3, 4), opset=10, min=-0.2, max=0.5)
    single("prelu", "PRelu", (2, 3, 4), {"slope": weights(2, 1, 1)})
    for op in ("Add", "Sub", "Mul", "Div"):
        single(f"with_{op}", op, (2, 3, 4), {"c": weights(3, 1) + 2})
        single(f"by_{op}", op, (2, 3, 4), {"c": weights(2, 3, 4)}, positive=True, inputs=["c", "x"])
        single(f"number_{op}", op, (2, 3, 4), {"c": np.float32(1.7)})
    single("power", "Pow", (2, 3, 4), {"p": np.float32(3)})
    single("power_many", "Pow", (2, 3, 4), {"p": weights(4)}, positive=True)
    single("smaller", "Min", (2, 3, 4), {"c": weights(4), "d": weights(3, 1)})
    single("larger", "Max", (2, 3, 4), {"c": weights(4)})
    single("mean_of", "Mean", (2, 3, 4), {"c": weights(4)})
    keep(
        "choice",
        [node("Where", ["m", "x", "c"], ["y"])],
        (2, 3, 4),
        {"m": RNG.uniform(size=(3, 1)) > 0.5, "c": np.float32(-2)},
    )
    keep("sums", [node("Mul", ["x", "s"], ["a"]), node("Add", ["a", "x"], ["y"])], (2, 3, 4), {"s": weights(2, 1, 1)})


def layouts():
    keep("reshape", [node("Reshape", ["x", "s"], ["a"]), node("Relu", ["a"], ["y"])], (4, 3, 2), {"s": ints(0, -1, 2)})
    keep("flatten", [node("Exp", ["x"], ["a"]), node("Flatten", ["a"], ["y"], axis=1)], (4, 3, 2))
    keep("transpose", [node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]), node("Exp", ["a"], ["y"])], (4, 3, 2))
    keep(
        "turned",
        [
            node("Transpose", ["x"], ["a"], perm=[1, 0, 2, 3]),
            node("Reshape", ["a", "s"], ["b"]),
            node("Transpose", ["b"], ["c"], perm=[1, 0, 2]),
            node("Exp", ["c"], ["y"]),
        ],
        (4, 3, 2),
        {"s": ints(4, 2, 3)},
        free=False,
    )
    keep("squeeze", [node("Unsqueeze", ["x", "a"], ["b"]), node("Squeeze", ["b", "a"], ["c"]), node("Neg", ["c"], ["y"])], (4, 3, 2), {"a": ints(1, -1)})
    keep("squeeze_old", [node("Unsqueeze", ["x"], ["b"], axes=[2]), node("Squeeze", ["b"], ["c"], axes=[2]), node("Exp", ["c"], ["y"])], (4, 3, 2), opset=11)
    keep("concat", [node("Exp", ["x"], ["a"]), node("Concat", ["x", "a", "c"], ["y"], axis=2)], (4, 3, 2), {"c": weights(1, 4, 2, 2)}, free=False)
    keep("split", [node("Split", ["x", "s"], ["a", "b"], axis=1), node("Exp", ["a"], ["c"]), node("Concat", ["b", "c"], ["y"], axis=1)], (5, 3, 2), {"s": ints(2, 3)})
    keep("split_even", [node("Split", ["x"], ["a", "b"], axis=-1), node("Sub", ["a", "b"], ["y"])], (5, 3, 4))
    single("slice", "Slice", (5, 6, 7), {"s": ints(1, -1), "e": ints(9, -8), "a": ints(1, 3), "t": ints(2, -2)})
    keep("slice_old", [node("Slice", ["x"], ["y"], starts=[1, 0], ends=[3, -1], axes=[1, 2])], (5, 6, 7), opset=9)
    single("pad", "Pad", (3, 4, 5), {"p": ints(0, 1, 2, 0, 0, 0, 1, 3), "v": np.float32(0.5)})
    single("pad_reflect", "Pad", (3, 4, 5), {"p": ints(0, 0, 2, 3, 0, 0, 1, 1)}, mode="reflect")
    single("pad_edge", "Pad", (3, 4, 5), {"p": ints(0, 0, 2, 3, 0, 0, 1, 1)}, mode="edge")
    single("pad_cut", "Pad", (3, 4, 5), {"p": ints(0, 0, -1, 1, 0, 0, 2, -2)})
    single("tile", "Tile", (3, 4, 5), {"r": ints(1, 2, 1, 3)})
    single("expand", "Expand", (3, 1, 5), {"s": ints(1, 1, 4, 1)})
    single("gather", "Gather", (3, 4, 5), {"i": ints(2, 0, -1)}, axis=2)
    single("gather_one", "Gather", (3, 4, 5), {"i": np.int64(-2)}, axis=1)
    single("gather_many", "Gather", (3, 4, 5), {"i": np.array([[0, 1], [3, 3]], dtype=np.int64)}, axis=3)
    single("depth_to_space", "DepthToSpace", (8, 3, 2), blocksize=2)
    single("depth_to_space_crd", "DepthToSpace", (8, 3, 2), blocksize=2, mode="CRD")
    single("space_to_depth", "SpaceToDepth", (2, 4, 6), blocksize=2)


def resizes():
    def resize(name, scales=None, sizes=None, shape=(2, 4, 5), opset=17, **attributes):
        constants = {"scales": np.float32(scales)} if scales else {"sizes": ints(*sizes)}
        inputs = ["x", "", "scales"] if scales else ["x", "", "", "sizes"]
        keep(name, [node("Resize", inputs, ["y"], **attributes)], shape, constants, opset, free=False)

    for mode in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        resize(f"linear_{mode}", sizes=(1, 2, 7, 3), mode="linear", coordinate_transformation_mode=mode)
        resize(f"cubic_{mode}", sizes=(1, 2, 7, 11), mode="cubic", coordinate_transformation_mode=mode)
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            resize(f"nearest_{mode}_{rounding}", sizes=(1, 2, 7, 3), mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding)
    resize("linear_scales", scales=(1, 1, 2.3, 1.7), mode="linear")
    resize("nearest_scales", scales=(1, 1, 2, 2), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resize("cubic_inside", sizes=(1, 2, 7, 3), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    resize("linear_antialias", sizes=(1, 2, 3, 2), shape=(2, 8, 7), mode="linear", antialias=1, opset=18)
    single("upsample", "Upsample", (2, 3, 4), {"s": np.float32((1, 1, 2, 3))}, opset=9, mode="nearest")
    single("upsample_linear", "Upsample", (2, 3, 4), {"s": np.float32((1, 1, 2, 2))}, opset=9, mode="linear")


def reductions():
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
        attributes = {"opset": 13, "keepdims": 0}
        if op == "ReduceSum":
            single(f"all_{op}", op, (3, 4, 5), {"a": ints(2)}, **attributes)
        else:
            single(f"all_{op}", op, (3, 4, 5), axes=[1, -1], **attributes)
    single("mean_input", "ReduceMean", (3, 4, 5), {"a": ints(2, 3)}, opset=18)
    single("mean_tokens", "ReduceMean", (4, 5), axes=[1], opset=13)
    single("softmax", "Softmax", (3, 4, 5), axis=1)
    single("softmax_old", "Softmax", (3, 4, 5), opset=11, axis=2)
    single("log_softmax", "LogSoftmax", (3, 4, 5), axis=-1)
    single("normalise", "LpNormalization", (3, 4, 5), axis=1, p=2)


def norms():
    four = {"s": weights(4) + 2, "b": weights(4), "m": weights(4), "v": weights(4) + 2}
    single("batch_norm", "BatchNormalization", (4, 3, 5), four)
    keep(
        "conv_norm_relu",
        [
            node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["a", *four], ["n"], epsilon=1e-3),
            node("Relu", ["n"], ["r"]),
            node("Conv", ["r", "u"], ["c"]),
            node("Add", ["c", "r"], ["y"]),
        ],
        (3, 6, 5),
        {"w": weights(4, 3, 3, 3), "u": weights(4, 4, 1, 1), **four},
    )
    keep(
        "conv_kept",
        [node("Conv", ["x", "w"], ["a"]), node("BatchNormalization", ["a", *four], ["n"]), node("Mul", ["a", "n"], ["y"])],
        (3, 6, 5),
        {"w": weights(4, 3, 3, 3), **four},
    )
    single("instance_norm", "InstanceNormalization", (4, 3, 5), {"s": weights(4), "b": weights(4)})
    single("group_norm", "GroupNormalization", (4, 3, 5), {"s": weights(4), "b": weights(4)}, opset=21, num_groups=2)
    single("layer_norm", "LayerNormalization", (4, 5), {"s": weights(5), "b": weights(5)})
    single("layer_norm_two", "LayerNormalization", (4, 3, 5), {"s": weights(3, 5)}, axis=2)
    for name, square in (("pow", lambda: node("Pow", ["d", "two"], ["q"])), ("mul", lambda: node("Mul", ["d", "d"], ["q"]))):
        keep(
            f"layer_norm_parts_{name}",
            [
                node("ReduceMean", ["x"], ["m"], axes=[-1]),
                node("Sub", ["x", "m"], ["d"]),
                square(),
                node("ReduceMean", ["q"], ["v"], axes=[-1]),
                node("Add", ["v", "e"], ["w"]),
                node("Sqrt", ["w"], ["r"]),
                node("Div", ["d", "r"], ["n"]),
                node("Mul", ["n", "s"], ["a"]),
                node("Add", ["a", "b"], ["y"]),
            ],
            (4, 5),
            {"two": np.float32(2), "e": np.float32(1e-3), "s": weights(5), "b": weights(5)},
        )


def products():
    single("matmul", "MatMul", (4, 5), {"w": weights(5, 3)})
    keep("linear", [node("MatMul", ["x", "w"], ["a"]), node("Add", ["b", "a"], ["y"])], (4, 5), {"w": weights(5, 3), "b": weights(3)})
    keep("linear_first", [node("MatMul", ["w", "x"], ["y"])], (4, 5), {"w": weights(3, 4)})
    keep("self", [node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["x", "t"], ["y"])], (2, 4, 5))
    keep("many", [node("MatMul", ["x", "w"], ["y"])], (2, 4, 5), {"w": weights(1, 2, 5, 3)})
    single("gemm", "Gemm", (5,), {"w": weights(3, 5), "c": weights(3)}, transB=1, alpha=0.5, beta=2.0)
    single("gemm_plain", "Gemm", (5,), {"w": weights(5, 3), "c": weights(1, 3)})
    keep(
        "nhwc",
        [
            node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
            node("Conv", ["a", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
            node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
            node("Add", ["d", "b"], ["e"]),
            node("Relu", ["e"], ["f"]),
            node("ReduceMean", ["f"], ["g"], axes=[1, 2], keepdims=1),
            node("Mul", ["g", "f"], ["h"]),
            node("Reshape", ["h", "s"], ["i"]),
            node("MatMul", ["i", "v"], ["y"]),
        ],
        (7, 8, 3),
        {"w": weights(4, 3, 3, 3), "b": weights(4), "s": ints(-1, 64), "v": weights(64, 2)},
    )
    for name, last in (("halves", True), ("scaled", False)):
        nodes = [
            node("Div", ["x", "root"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["b", "one"], ["c"]),
            *(
                [node("Mul", ["x", "c"], ["d"]), node("Mul", ["d", "half"], ["y"])]
                if last
                else [node("Mul", ["x", "half"], ["d"]), node("Mul", ["d", "c"], ["y"])]
            ),
        ]
        constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
        keep(f"gelu_{name}", nodes, (2, 3, 4), constants)
    keep(
        "attention",
        [
            node("MatMul", ["x", "w"], ["qkv"]),
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "zero"], ["batch"], axis=0),
            node("Unsqueeze", ["batch", "axis"], ["batch1"]),
            node("Concat", ["batch1", "rest"], ["target"], axis=0),
            node("Reshape", ["qkv", "target"], ["five"]),
            node("Transpose", ["five"], ["parts"], perm=[2, 0, 3, 1, 4]),
            node("Gather", ["parts", "zero"], ["q"], axis=0),
            node("Gather", ["parts", "one"], ["k"], axis=0),
            node("Gather", ["parts", "two"], ["v"], axis=0),
            node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
            node("MatMul", ["q", "kt"], ["s"]),
            node("Mul", ["s", "scale"], ["t"]),
            node("Softmax", ["t"], ["p"], axis=-1),
            node("MatMul", ["p", "v"], ["o"]),
            node("Transpose", ["o"], ["u"], perm=[0, 2, 1, 3]),
            node("Reshape", ["u", "back"], ["y"]),
        ],
        (5, 4),
        {
            "w": weights(4, 12), "zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "axis": ints(0),
            "rest": ints(5, 3, 2, 2), "scale": np.float32(0.7), "back": ints(0, 5, 4),
        },
    )


def constants():
    half = numpy_helper.from_array(weights(4).astype(np.float16), "h")
    keep(
        "computed",
        [
            node("Constant", [], ["h"], value=half),
            node("Cast", ["h"], ["f"], to=1),
            node("Range", ["zero", "four", "one"], ["r"]),
            node("Cast", ["r"], ["rf"], to=1),
            node("Add", ["f", "rf"], ["c"]),
            node("Equal", ["r", "two"], ["is"]),
            node("Where", ["is", "c", "rf"], ["d"]),
            node("ConstantOfShape", ["shape"], ["o"], value=numpy_helper.from_array(np.float32([0.25]), "v")),
            node("Mul", ["d", "o"], ["e"]),
            node("ReduceSum", ["e"], ["n"]),
            node("Div", ["e", "n"], ["g"]),
            node("Mul", ["x", "g"], ["y"]),
        ],
        (3, 4),
        {"zero": np.int64(0), "four": np.int64(4), "one": np.int64(1), "two": np.int64(2), "shape": ints(3, 4)},
    )


if __name__ == "__main__":
    for make in (convolutions, poolings, pointwise, layouts, resizes, reductions, norms, products, constants):
        make()
    models, inputs, outputs = zip(*KEPT.values())
    np.savez(
        __file__.replace(".py", ".npz"),
        names=np.frombuffer("\n".join(KEPT).encode(), dtype=np.uint8),
        models=np.frombuffer(b"".join(models), dtype=np.uint8),
        lengths=np.array([len(m) for m in models]),
        inputs=np.concatenate([x.ravel() for x in inputs]),
        shapes=np.array([[*x.shape, *[0] * (4 - x.ndim)] for x in inputs]),
        outputs=np.concatenate([y.ravel() for y in outputs]),
        sizes=np.array([y.size for y in outputs]),
    )
    print(len(KEPT), "models")
