"""How much memory and work a graph takes, computed from its shapes without running it.

The operations that the exporters of this package write are computed on shapes alone, for one number of
segments: the shapes of tensors, and the elements of the few small ones (sizes, axes, indices) that decide
other shapes. So a graph that would allocate gigabytes or compute for minutes is refused before onnxruntime
sees it, on every system alike and without a clock. What is none of these operations is refused: among others
Loop, If and Scan, random numbers, and operations whose output's size depends on the audio.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from genrescope.models.graph import MAX_VALUES, Attribute, Graph, GraphError, Node, Value

# Elements, of 4 bytes mostly, of all tensors that exist at once for one segment. EfficientAT mn40, the
# largest backbone, has 16 million on segments of 10 s.
MAX_LIVE_ELEMENTS = 60_000_000
# VGG16 multiplies 15 billion times for a segment, mn40 8 billion times for one of 10 s.
MAX_MULTIPLICATIONS = 40_000_000_000
# Networks that take samples are transformers of a hundred million weights: for 10 s, wav2vec 2.0 and AST of
# the base size multiply 70 and 130 billion times, and MERT-330M 240 billion times.
MAX_LIVE_ELEMENTS_OF_SAMPLES = 240_000_000
MAX_MULTIPLICATIONS_OF_SAMPLES = 320_000_000_000
OPSETS = {"": range(13, 22), "ai.onnx.ml": range(1, 5)}

Rule = Callable[[Node, list[Value]], list[Value]]


def check_graph(
    graph: Graph, inputs: dict[str, tuple[int, ...]], *, takes_samples: bool = False
) -> dict[str, tuple[int, ...]]:
    """Compute the shapes of a graph's outputs, and refuse one that takes too much memory or work.

    Parameters
    ----------
    graph : Graph
    inputs : dict of str to tuple of int
        Shape of each input; the first size is the number of segments.
    takes_samples : bool
        Whether the input is samples and not features of them: more memory and work is allowed then.

    Returns
    -------
    dict of str to tuple of int
        Shape of each output.

    Raises
    ------
    GraphError
        An unknown operation, shapes that do not fit, or too much memory or work.
    """
    _check_opsets(graph)
    most_live = MAX_LIVE_ELEMENTS_OF_SAMPLES if takes_samples else MAX_LIVE_ELEMENTS
    most_work = MAX_MULTIPLICATIONS_OF_SAMPLES if takes_samples else MAX_MULTIPLICATIONS
    segments = max(1, *(shape[0] for shape in inputs.values()))
    values = {**graph.constants, "": Value((0,))}
    constant = set(values)
    values |= {name: Value(shape) for name, shape in inputs.items()}
    uses = Counter(name for node in graph.nodes for name in set(node.inputs))
    uses.update(graph.outputs)
    live = work = 0
    for node in graph.nodes:
        parts = _find(values, node.inputs)
        results = _apply(node, parts)
        work += _multiplications(node, parts, results)
        # onnxruntime computes what depends on weights alone when it opens a graph, and keeps all of it.
        kept = all(name in constant for name in node.inputs)
        for name, value in zip(node.outputs, results, strict=False):
            if name in values and name:
                raise GraphError(f"two operations give {name[:40]!r}")
            values[name] = value
            live += value.size
            if kept:
                constant.add(name)
        if live > most_live * segments or work > most_work * segments:
            raise GraphError(f"it takes too much memory or time, at an operation {node.operation}")
        for name in set(node.inputs):
            uses[name] -= 1
            if not uses[name] and name not in constant and name not in inputs:
                live -= values[name].size
    found = zip(graph.outputs, _find(values, graph.outputs), strict=True)
    return {name: value.shape for name, value in found}


def _check_opsets(graph: Graph) -> None:
    for domain, version in graph.opsets.items():
        if version not in OPSETS.get(domain, ()):
            raise GraphError(f"it uses version {version} of the operations {(domain or 'ai.onnx')[:60]!r}")


def _find(values: dict[str, Value], names: list[str]) -> list[Value]:
    try:
        return [values[name] for name in names]
    except KeyError as missing:
        raise GraphError(f"nothing gives the tensor {str(missing)[:40]} before it is needed") from None


def _apply(node: Node, parts: list[Value]) -> list[Value]:
    """Return what an operation gives, in shapes."""
    rule = _RULES.get(node.operation)
    if rule is None:
        raise GraphError(f"it uses the operation {node.operation[:60]!r}, which no genrescope model has")
    try:
        results = rule(node, parts)
    except (
        ValueError,
        IndexError,
        TypeError,
        ZeroDivisionError,
        OverflowError,
        AttributeError,
        KeyError,
    ) as fault:
        if isinstance(fault, GraphError):
            raise
        raise GraphError(f"the shapes of an operation {node.operation} do not fit") from None
    if any(size < 0 for value in results for size in value.shape):
        raise GraphError(f"the shapes of an operation {node.operation} do not fit")
    return results


def _multiplications(node: Node, parts: list[Value], results: list[Value]) -> int:
    """Return about how many multiplications an operation takes; an addition or exponential counts as one."""
    size = sum(value.size for value in results) + sum(value.size for value in parts)
    if node.operation == "Conv":
        return size + results[0].size * math.prod(parts[1].shape[1:])
    if node.operation in ("Gemm", "MatMul"):
        rows = parts[0].shape
        inner = rows[0] if _integer(node, "transA") else rows[-1]
        return size + results[0].size * inner
    if node.operation in ("LSTM", "GRU"):
        steps = parts[0].shape[0] * parts[0].shape[1]
        return size + steps * (parts[1].size + parts[2].size)
    if node.operation in ("MaxPool", "AveragePool"):
        return size + results[0].size * math.prod(node.attributes["kernel_shape"].integers)
    if node.operation == "ai.onnx.ml:SVMClassifier":
        vectors = sum(attribute.length for attribute in node.attributes.values())
        return size + parts[0].shape[0] * vectors * 2
    return size


def _integer(node: Node, name: str, default: int = 0) -> int:
    return node.attributes[name].integer if name in node.attributes else default


def _integers(node: Node, name: str, default: Sequence[int] = ()) -> list[int]:
    return node.attributes[name].integers if name in node.attributes else list(default)


def _known(value: Value) -> np.ndarray[Any, Any]:
    """Return the elements of a tensor that decides a shape."""
    if value.data is None:
        raise GraphError("a shape in it depends on the audio or on large tables")
    return value.data


def _axes(node: Node, parts: list[Value], rank: int) -> list[int]:
    """Return the axes of an operation, from its second input or its setting, as numbers from 0."""
    axes = _known(parts[1]).ravel().tolist() if len(parts) > 1 else _integers(node, "axes")
    found = [axis + rank if axis < 0 else axis for axis in axes]
    if any(not 0 <= axis < rank for axis in found) or len(set(found)) < len(found):
        raise ValueError
    return found


def _same(node: Node, parts: list[Value]) -> list[Value]:
    return [Value(parts[0].shape, parts[0].data if node.operation in ("Identity", "Cast") else None)]


def _broadcast(node: Node, parts: list[Value]) -> list[Value]:
    shape = np.broadcast_shapes(*(value.shape for value in parts))
    data = None
    arithmetic: dict[str, Callable[..., Any]]
    arithmetic = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide}
    arithmetic["Equal"] = np.equal
    if node.operation in arithmetic and all(
        value.data is not None and np.issubdtype(value.data.dtype, np.integer) for value in parts
    ):
        if node.operation == "Div" and not _known(parts[1]).all():
            raise ValueError
        data = _small(arithmetic[node.operation](_known(parts[0]), _known(parts[1])))
    if node.operation == "Where" and all(value.data is not None for value in parts):
        data = _small(np.where(*map(_known, parts)))
    return [Value(tuple(shape), data)]


def _small(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    return data if data.size <= MAX_VALUES else None


def _constant(node: Node, _: list[Value]) -> list[Value]:
    if (tensor := node.attributes.get("value", Attribute()).tensor) is not None:
        return [tensor]
    (name,) = node.attributes
    attribute = node.attributes[name]
    if attribute.length > MAX_VALUES:
        return [Value((attribute.length,))]
    choices: dict[str, np.ndarray[Any, Any]] = {
        "value_int": np.array(attribute.integer, np.int64),
        "value_ints": np.array(attribute.integers, np.int64),
        "value_float": np.array(attribute.number, np.float32),
    }
    return [Value(choices[name].shape, choices[name])]


def _constant_of_shape(node: Node, parts: list[Value]) -> list[Value]:
    shape = tuple(_known(parts[0]).ravel().tolist())
    fill = node.attributes.get("value", Attribute()).tensor
    if fill is None or fill.data is None or fill.size != 1 or min(shape, default=0) < 0:
        return [Value(shape)]
    return [Value(shape, np.full(shape, fill.data.ravel()[0]) if math.prod(shape) <= MAX_VALUES else None)]


def _shape(node: Node, parts: list[Value]) -> list[Value]:
    if "start" in node.attributes or "end" in node.attributes:
        raise ValueError
    data = np.array(parts[0].shape, np.int64)
    return [Value(data.shape, data)]


def _gather(node: Node, parts: list[Value]) -> list[Value]:
    table, indices = parts
    axis = _integer(node, "axis")
    axis += len(table.shape) if axis < 0 else 0
    shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
    if not 0 <= axis < len(table.shape):
        raise ValueError
    data = None
    if table.data is not None and indices.data is not None and math.prod(shape) <= MAX_VALUES:
        data = np.take(table.data, indices.data.astype(np.int64), axis=axis)
    return [Value(shape, data)]


def _feature_extractor(node: Node, parts: list[Value]) -> list[Value]:
    table, indices = parts
    rows = table.shape[:-1] or (1,)
    return [Value((*rows, indices.size))]


def _unsqueeze(node: Node, parts: list[Value]) -> list[Value]:
    axes = _known(parts[1]).ravel().tolist() if len(parts) > 1 else _integers(node, "axes")
    rank = len(parts[0].shape) + len(axes)
    shape = list(parts[0].shape)
    for axis in sorted(_axes(node, parts, rank)):
        shape.insert(axis, 1)
    return _reshaped(parts[0], tuple(shape))


def _squeeze(node: Node, parts: list[Value]) -> list[Value]:
    shape = parts[0].shape
    axes = _axes(node, parts, len(shape)) or [axis for axis, size in enumerate(shape) if size == 1]
    return _reshaped(parts[0], tuple(size for axis, size in enumerate(shape) if axis not in axes))


def _reshape(node: Node, parts: list[Value]) -> list[Value]:
    wanted = _known(parts[1]).ravel().tolist()
    if not _integer(node, "allowzero"):
        wanted = [parts[0].shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = parts[0].size // rest
    return _reshaped(parts[0], tuple(wanted))


def _flatten(node: Node, parts: list[Value]) -> list[Value]:
    axis = _integer(node, "axis", 1)
    shape = parts[0].shape
    return _reshaped(parts[0], (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshaped(value: Value, shape: tuple[int, ...]) -> list[Value]:
    if math.prod(shape) != value.size:
        raise ValueError
    return [Value(shape, None if value.data is None else value.data.reshape(shape))]


def _transpose(node: Node, parts: list[Value]) -> list[Value]:
    rank = len(parts[0].shape)
    order = _integers(node, "perm", range(rank)[::-1])
    if sorted(order) != list(range(rank)):
        raise ValueError
    data = None if parts[0].data is None else parts[0].data.transpose(order)
    return [Value(tuple(parts[0].shape[axis] for axis in order), data)]


def _concat(node: Node, parts: list[Value]) -> list[Value]:
    axis, shape = _integer(node, "axis"), list(parts[0].shape)
    for other in parts[1:]:
        if [*other.shape[: axis % len(shape)], *other.shape[axis % len(shape) + 1 :]] != [
            *shape[: axis % len(shape)],
            *shape[axis % len(shape) + 1 :],
        ]:
            raise ValueError
    shape[axis] = sum(value.shape[axis] for value in parts)
    data = None
    if all(value.data is not None for value in parts) and math.prod(shape) <= MAX_VALUES:
        data = np.concatenate([_known(value) for value in parts], axis=axis)
    return [Value(tuple(shape), data)]


def _slice(node: Node, parts: list[Value]) -> list[Value]:
    shape = parts[0].shape
    starts, ends = (_known(part).ravel().tolist() for part in parts[1:3])
    axes = _known(parts[3]).ravel().tolist() if len(parts) > 3 else list(range(len(starts)))
    steps = _known(parts[4]).ravel().tolist() if len(parts) > 4 else [1] * len(starts)
    kept = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        if step < 0:
            # As of ONNX: an end before the first element has no spelling in a Python slice.
            first = min(max(start + size if start < 0 else start, 0), size - 1)
            last = max(end + size if end < 0 else end, -1)
            kept[axis] = range(first, last, step)
        else:
            kept[axis] = range(*slice(start, end, step).indices(size))
    data = parts[0].data
    if data is not None:
        data = data[np.ix_(*kept)] if kept else data
    return [Value(tuple(map(len, kept)), data)]


def _pad(node: Node, parts: list[Value]) -> list[Value]:
    shape, amounts = list(parts[0].shape), _known(parts[1]).ravel().tolist()
    axes = _known(parts[3]).ravel().tolist() if len(parts) > 3 else list(range(len(shape)))
    if len(amounts) != 2 * len(axes) or len(set(axes)) < len(axes):
        raise ValueError
    for place, axis in enumerate(axes):
        shape[axis] += amounts[place] + amounts[place + len(axes)]
    return [Value(tuple(shape))]


def _split(node: Node, parts: list[Value]) -> list[Value]:
    shape = list(parts[0].shape)
    axis = _integer(node, "axis")
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape):
        raise ValueError
    if len(parts) > 1:
        sizes = _known(parts[1]).ravel().tolist()
    else:
        count = max(1, _integer(node, "num_outputs", len(node.outputs)))
        most = -(-shape[axis] // count)
        sizes = [most] * (count - 1) + [shape[axis] - most * (count - 1)]
    if sum(sizes) != shape[axis] or len(sizes) != len(node.outputs) or min(sizes) < 0:
        raise ValueError
    return [Value((*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _reduce(node: Node, parts: list[Value]) -> list[Value]:
    shape = parts[0].shape
    axes = _axes(node, parts, len(shape)) or list(range(len(shape)))
    if _integer(node, "keepdims", 1):
        return [Value(tuple(1 if axis in axes else size for axis, size in enumerate(shape)))]
    return [Value(tuple(size for axis, size in enumerate(shape) if axis not in axes))]


def _arg_max(node: Node, parts: list[Value]) -> list[Value]:
    shape = list(parts[0].shape)
    axis = _integer(node, "axis")
    shape[axis] = 1
    if not _integer(node, "keepdims", 1):
        del shape[axis]
    return [Value(tuple(shape))]


def _windows(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Return the sizes after a convolution or pooling."""
    if node.attributes.get("auto_pad", Attribute(text=b"NOTSET")).text != b"NOTSET":
        raise ValueError
    ones = [1] * len(sizes)
    strides, dilations = _integers(node, "strides", ones), _integers(node, "dilations", ones)
    pads = _integers(node, "pads", [0] * 2 * len(sizes))
    if min([*strides, *dilations, *kernel]) < 1 or min(pads) < 0:
        raise ValueError
    found = []
    for axis, size in enumerate(sizes):
        # A padding as large as the kernel or more makes no sense, and would be a way to large tensors.
        if max(pads[axis], pads[axis + len(sizes)]) > dilations[axis] * kernel[axis]:
            raise ValueError
        spare = size + pads[axis] + pads[axis + len(sizes)] - dilations[axis] * (kernel[axis] - 1) - 1
        if spare < 0:
            raise ValueError
        rounding = _integer(node, "ceil_mode")
        found.append((-(-spare // strides[axis]) if rounding else spare // strides[axis]) + 1)
    return found


def _conv(node: Node, parts: list[Value]) -> list[Value]:
    batch, channels, *sizes = parts[0].shape
    outputs, inputs, *kernel = parts[1].shape
    groups = _integer(node, "group", 1)
    if inputs * groups != channels or outputs % groups or not kernel or len(kernel) != len(sizes):
        raise ValueError
    return [Value((batch, outputs, *_windows(node, sizes, kernel)))]


def _pool(node: Node, parts: list[Value]) -> list[Value]:
    batch, channels, *sizes = parts[0].shape
    kernel = _integers(node, "kernel_shape")
    if len(kernel) != len(sizes):
        raise ValueError
    found = Value((batch, channels, *_windows(node, sizes, kernel)))
    return [found] * len(node.outputs)


def _global_pool(node: Node, parts: list[Value]) -> list[Value]:
    shape = parts[0].shape
    return [Value((*shape[:2], *[1] * (len(shape) - 2)))]


def _gemm(node: Node, parts: list[Value]) -> list[Value]:
    (rows, inner), (other, columns) = parts[0].shape, parts[1].shape
    if _integer(node, "transA"):
        rows, inner = inner, rows
    if _integer(node, "transB"):
        other, columns = columns, other
    if inner != other:
        raise ValueError
    if len(parts) > 2 and np.broadcast_shapes(parts[2].shape, (rows, columns)) != (rows, columns):
        raise ValueError
    return [Value((rows, columns))]


def _matmul(node: Node, parts: list[Value]) -> list[Value]:
    (*left, rows, inner), (*right, other, columns) = parts[0].shape, parts[1].shape
    if inner != other:
        raise ValueError
    return [Value((*np.broadcast_shapes(tuple(left), tuple(right)), rows, columns))]


def _recurrent(node: Node, parts: list[Value]) -> list[Value]:
    steps, batch, features = parts[0].shape
    directions, gates, width = parts[1].shape
    hidden = parts[2].shape[2]
    if (
        _integer(node, "layout")
        or width != features
        or gates != hidden * (4 if node.operation == "LSTM" else 3)
        or _integer(node, "hidden_size", hidden) != hidden
    ):
        raise ValueError
    state = Value((directions, batch, hidden))
    return [Value((steps, directions, batch, hidden)), state, state]


def _resize(node: Node, parts: list[Value]) -> list[Value]:
    shape = parts[0].shape
    if len(parts) > 3 and parts[3].size:
        sizes = _known(parts[3]).ravel().tolist()
    else:
        sizes = [
            math.floor(size * scale) for size, scale in zip(shape, _known(parts[2]).ravel(), strict=True)
        ]
    if len(sizes) != len(shape) or "axes" in node.attributes:
        raise ValueError
    return [Value(tuple(int(size) for size in sizes))]


def _expand(node: Node, parts: list[Value]) -> list[Value]:
    return [Value(tuple(np.broadcast_shapes(parts[0].shape, tuple(_known(parts[1]).ravel().tolist()))))]


def _classifier(node: Node, parts: list[Value]) -> list[Value]:
    """Labels and scores of scikit-learn's classifiers; an SVM has a score for each pair of classes."""
    rows = parts[0].shape[0]
    settings = node.attributes
    names = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
    classes = max(settings[name].length for name in names if name in settings)
    pairs = classes * (classes - 1) // 2
    columns = max(pairs, classes) if node.operation.endswith("SVMClassifier") else classes
    return [Value((rows,)), Value((rows, columns))]


def _all(rule: Rule, *operations: str) -> dict[str, Rule]:
    return dict.fromkeys(operations, rule)


# What the exporters of torch and skl2onnx write for the models of this package, and a few of the same kind.
_RULES: dict[str, Rule] = {
    **_all(
        _same, "Identity", "Cast", "Clip", "Relu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Softmax"
    ),
    **_all(_same, "LogSoftmax", "Exp", "Log", "Neg", "Abs", "Sqrt", "Not", "Erf", "Elu", "LeakyRelu"),
    **_all(_same, "BatchNormalization", "InstanceNormalization", "LayerNormalization"),
    **_all(_same, "ai.onnx.ml:Scaler", "ai.onnx.ml:Normalizer"),
    **_all(_broadcast, "Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "Where"),
    **_all(_broadcast, "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or"),
    **_all(_reduce, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"),
    **_all(_pool, "MaxPool", "AveragePool"),
    **_all(_global_pool, "GlobalAveragePool", "GlobalMaxPool"),
    **_all(_recurrent, "LSTM", "GRU"),
    **_all(_classifier, "ai.onnx.ml:SVMClassifier", "ai.onnx.ml:LinearClassifier"),
    "ArgMax": _arg_max,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "ai.onnx.ml:ArrayFeatureExtractor": _feature_extractor,
}
