"""Broken and hostile model files: a typed error before any of it is run, and no read outside the file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from genrescope.errors import ModelError
from genrescope.models import graph, graph_limits
from genrescope.models.model import METADATA_KEY, Model

Nodes = list[Any]
FEATURES, CLASSES = 6, 2


@pytest.fixture(scope="module")
def description(little_model: Path) -> dict[str, Any]:
    """Return the description of a good model: vectors of six features, two classes."""
    found: dict[str, Any] = json.loads(onnx.load(little_model).metadata_props[0].value)
    return found


def weights(name: str, values: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def written(
    description: Any,
    nodes: Nodes,
    initializers: Nodes | None = None,
    *,
    opset: int = 17,
    domains: tuple[tuple[str, int], ...] = (),
    scores: list[int | None] | None = None,
) -> bytes:
    """Return a model file with these operations from ``features`` to ``scores``."""
    ports = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, FEATURES]),
        helper.make_tensor_value_info(
            "scores", TensorProto.FLOAT, [None, CLASSES] if scores is None else scores
        ),
    ]
    whole = helper.make_graph(nodes, "hostile", ports[:1], ports[1:], initializers or [])
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*domain) for domain in domains)]
    model = helper.make_model(whole, opset_imports=opsets, ir_version=8)
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = description if isinstance(description, str) else json.dumps(description)
    content: bytes = model.SerializeToString()
    return content


def good(description: Any, *, last: str = "Softmax", kernel: Any = None) -> bytes:
    """Return a model of one linear layer."""
    kernel = np.eye(FEATURES, CLASSES) if kernel is None else kernel
    nodes = [
        helper.make_node("MatMul", ["features", "kernel"], ["logits"]),
        helper.make_node(last, ["logits"], ["scores"]),
    ]
    return written(description, nodes, [weights("kernel", kernel)])


def refused(content: bytes, *codes: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        Model(content, "hostile.onnx")
    assert caught.value.code in (codes or ("model_incompatible", "model_corrupt"))
    assert caught.value.message.startswith("hostile.onnx: ")
    assert len(caught.value.message) < 500
    assert caught.value.hint
    return caught.value


def test_the_file_that_the_others_are_made_from_opens(description: dict[str, Any]) -> None:
    model = Model(good(description), "good.onnx")
    np.testing.assert_allclose(model.scores(np.zeros((3, FEATURES), np.float32)), 0.5)


DESCRIPTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "n_fft zero": lambda d: d["features"].update(n_fft=0),
    "n_fft a billion": lambda d: d["features"].update(n_fft=10**9),
    "n_fft of 4000 digits": lambda d: d["features"].update(n_fft=10**4000),
    "n_fft negative": lambda d: d["features"].update(n_fft=-2048),
    "n_fft true": lambda d: d["features"].update(n_fft=True),
    "rate zero": lambda d: d["features"].update(sample_rate=0),
    "rate one": lambda d: d["features"].update(sample_rate=1, fmax=0.5),
    "rate 10 GHz": lambda d: d["features"].update(sample_rate=10**10),
    "hop one": lambda d: d.update(segment_seconds=3000.0, hop_seconds=3000.0),
    "hop_length zero": lambda d: d["features"].update(hop_length=0),
    "hop_length one": lambda d: d["features"].update(hop_length=1),
    "mel bands": lambda d: d["features"].update(n_mels=10**6),
    "cepstral coefficients": lambda d: d["features"].update(n_mfcc=10**6, n_mels=10**6),
    "fmax": lambda d: d["features"].update(fmax=1e300),
    "pre-emphasis": lambda d: d["features"].update(pre_emphasis=-1e300),
    "features of another kind": lambda d: d.update(features=[1, 2]),
    "many features": lambda d: d["features"].update(features=["rms"] * 10**5),
    "unknown setting": lambda d: d["features"].update({"x" * 10**5: 1}),
    "segment zero": lambda d: d.update(segment_seconds=0),
    "segment of a year": lambda d: d.update(segment_seconds=3e7, hop_seconds=3e7),
    "segment of an hour at 384 kHz": lambda d: (
        d.update(segment_seconds=3600, hop_seconds=3600),
        d["features"].update(sample_rate=384_000),
    ),
    "segment of a nanosecond": lambda d: d.update(segment_seconds=1e-9, hop_seconds=1e-9),
    "segment hop of a nanosecond": lambda d: d.update(hop_seconds=1e-9),
    "segment hop of a thousandth": lambda d: d.update(segment_seconds=100.0, hop_seconds=0.01),
    "segment hop beyond the segment": lambda d: d.update(hop_seconds=100.0),
    "no classes": lambda d: d.update(classes=[]),
    "one class": lambda d: d.update(classes=["a"]),
    "a million classes": lambda d: d.update(classes=[f"c{i}" for i in range(10**6)]),
    "the same class twice": lambda d: d.update(classes=["a", "a"]),
    "a class that is no text": lambda d: d.update(classes=["a", ["b"]]),
    "a class with terminal codes": lambda d: d.update(classes=["a", "\x1b[2J"]),
    "a class of a megabyte": lambda d: d.update(classes=["a", "b" * 10**6]),
    "styles without output": lambda d: d.update(styles=["techno"]),
    "name with a line break": lambda d: d.update(name="a\nb"),
    "name a number": lambda d: d.update(name=3),
    "license a table": lambda d: d.update(license={}),
    "threshold": lambda d: d.update(threshold=-1.0),
    "provenance": lambda d: d.update(provenance={"training_tracks": [{}]}),
    "content a text": lambda d: d.update(provenance={"training_content": "abc"}),
    "artists of numbers": lambda d: d.update(provenance={"training_artists": [1]}),
    "exposure a table": lambda d: d.update(provenance={"unlabeled_exposure": {}}),
    "exposure without fields": lambda d: d.update(provenance={"unlabeled_exposure": [{}]}),
    "exposure of terminal codes": lambda d: d.update(
        provenance={"unlabeled_exposure": [{"data": "\x1b[2J", "tracks": 1, "hours": 1, "content": []}]}
    ),
    "exposure of infinite hours": lambda d: d.update(
        provenance={"unlabeled_exposure": [{"data": "a", "tracks": 1, "hours": 10**400, "content": []}]}
    ),
    "schema a text": lambda d: d.update(schema="3" * 10**5),
}


# What the lists in a description repeat.
LARGE_DESCRIPTIONS = {"lists": "[],", "objects": "{},", "texts": '"ab",', "numbers": "1.5,"}


def filled(unit: str, size: int) -> str:
    """Return a description of about ``size`` characters."""
    return '{"provenance":[' + (unit * (size // len(unit)))[:-1] + "]}"


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_absurd_descriptions_are_refused(case: str, description: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(description))
    DESCRIPTIONS[case](changed)
    refused(good(changed), "model_incompatible")


def test_descriptions_that_are_no_plain_json_are_refused(description: dict[str, Any]) -> None:
    whole = json.dumps(description)
    seconds = f'"segment_seconds": {description["segment_seconds"]}'
    assert seconds in whole
    texts = [
        "",
        "null",
        "[]",
        '"text"',
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        whole.replace('"scores": {', '"scores": {"deep": ' + "[" * 50 + "]" * 50 + ", ", 1),
        *(
            whole.replace(seconds, f'"segment_seconds": {number}')
            for number in ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "true", "null", '"5"')
        ),
    ]
    for text in texts:
        refused(good(text), "model_incompatible")


def body(operation: str) -> Any:
    """Return a subgraph for a Loop, If or Scan."""
    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    before = helper.make_tensor_value_info("before", TensorProto.FLOAT, None)
    after = helper.make_tensor_value_info("after", TensorProto.FLOAT, None)
    step = helper.make_node("Identity", ["before" if operation != "If" else "features"], ["after"])
    if operation == "Loop":
        on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
        return helper.make_graph(
            [step, helper.make_node("Identity", ["go"], ["on"])],
            "body",
            [count, condition, before],
            [on, after],
        )
    return helper.make_graph([step], "body", [before] if operation == "Scan" else [], [after])


ENDLESS = [weights("most", 2**62, np.int64), weights("go", True, np.bool_)]


def loops() -> Nodes:
    """Return operations that run other graphs; their weights are `ENDLESS`."""
    loop = helper.make_node("Loop", ["most", "go", "features"], ["scores"], body=body("Loop"))
    branch = helper.make_node("If", ["go"], ["scores"], then_branch=body("If"), else_branch=body("If"))
    scan = helper.make_node("Scan", ["features"], ["scores"], body=body("Scan"), num_scan_inputs=1)
    return [loop, branch, scan]


def test_loops_and_branches_are_refused(description: dict[str, Any]) -> None:
    for node in loops():
        refused(written(description, [node], ENDLESS))


@pytest.mark.parametrize("place", ["../../etc/passwd", "/etc/passwd", "weights.bin"])
@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_nothing_outside_the_file_is_read(
    place: str, where: str, description: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.bin").write_bytes(np.eye(FEATURES, CLASSES).astype(np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    kernel = TensorProto(name="kernel", data_type=TensorProto.FLOAT, dims=[FEATURES, CLASSES])
    kernel.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", "48")):
        kernel.external_data.add(key=key, value=value)
    nodes = [helper.make_node("MatMul", ["features", "kernel"], ["logits"])]
    if where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["kernel"], value=kernel))
    nodes.append(helper.make_node("Softmax", ["logits"], ["scores"]))
    file = tmp_path / "model.onnx"
    file.write_bytes(written(description, nodes, [kernel] if where == "initializer" else []))
    with pytest.raises(ModelError, match=r"field 1[34] of a tensor"):
        Model.read(file)


def test_custom_operations_and_functions_are_refused(description: dict[str, Any]) -> None:
    for domain, operation in (
        ("evil.example", "Softmax"),
        ("com.microsoft", "Gelu"),
        ("", "RandomUniformLike"),
    ):
        node = helper.make_node(operation, ["features"], ["scores"], domain=domain)
        refused(written(description, [node], domains=((domain, 1),) if domain else ()))
    model = onnx.load_model_from_string(good(description))
    inner = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(
        helper.make_function("d", "F", ["x"], ["y"], [inner], [helper.make_opsetid("", 17)])
    )
    refused(model.SerializeToString(), "model_corrupt")


def bombs() -> dict[str, tuple[Nodes, Nodes]]:
    """Return operations that would allocate gigabytes or compute for minutes, and their weights."""
    node, huge = helper.make_node, weights("huge", [40_000, 40_000], np.int64)
    tall, wide = weights("tall", np.ones((100_000, 1))), weights("wide", np.ones((1, 100_000)))
    doubled = [node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=1) for i in range(40)]
    tiled = [node("Add", ["features", "x"], ["y"]), node("ReduceSum", ["y"], ["scores"])]
    squares = [node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(5000)]
    return {
        "ConstantOfShape": ([node("ConstantOfShape", ["huge"], ["scores"])], [huge]),
        "Expand": ([node("Expand", ["features", "huge"], ["scores"])], [huge]),
        "Tile": ([node("Tile", ["features", "huge"], ["scores"])], [huge]),
        "Range": ([node("Range", ["a", "b", "a"], ["scores"])], [weights("a", 1.0), weights("b", 1e12)]),
        "Pad": (
            [node("Pad", ["features", "huge"], ["scores"])],
            [weights("huge", [0, 0, 0, 10**10], np.int64)],
        ),
        "padding by a known amount": (
            [node("Pad", ["features", "amounts"], ["x"]), node("ReduceSum", ["x"], ["scores"])],
            [weights("amounts", [0, 0, 0, 10**10], np.int64)],
        ),
        "parts that do not add up": (
            [node("Split", ["features", "sizes"], ["scores", "rest"], axis=1)],
            [weights("sizes", [CLASSES, 10**10], np.int64)],
        ),
        "more than what is there": (
            [node("Slice", ["features", "start", "end", "axis", "zero"], ["scores"])],
            [
                weights(name, [value], np.int64)
                for name, value in (("start", 0), ("end", 9), ("axis", 1), ("zero", 0))
            ],
        ),
        "outer product": (
            [node("MatMul", ["tall", "wide"], ["x"]), *tiled],
            [tall, wide],
        ),
        "broadcast": ([node("Add", ["tall", "wide"], ["x"]), *tiled], [tall, wide]),
        "doubling": ([node("Identity", ["features"], ["x0"]), *doubled], []),
        "resize": (
            [
                node("Unsqueeze", ["features", "axes"], ["x"]),
                node("Resize", ["x", "", "scales"], ["scores"], mode="nearest"),
            ],
            [weights("axes", [0, 1], np.int64), weights("scales", [1, 1, 1, 1e9])],
        ),
        "padded convolution": (
            [
                node("Unsqueeze", ["features", "axes"], ["x"]),
                node("Conv", ["x", "kernel"], ["scores"], pads=[10**9, 10**9]),
            ],
            [weights("axes", [1], np.int64), weights("kernel", np.ones((1, 1, 3)))],
        ),
        "many multiplications": (
            [*squares, node("ReduceSum", ["m5000"], ["scores"])],
            [weights("m0", np.ones((500, 500)))],
        ),
        "size from the audio": (
            [
                node("Cast", ["features"], ["sizes"], to=TensorProto.INT64),
                node("ConstantOfShape", ["sizes"], ["scores"]),
            ],
            [],
        ),
        "no operations": ([], []),
        "a cycle": ([node("Add", ["features", "b"], ["a"]), node("Identity", ["a"], ["b"])], []),
        "an unknown input": ([node("Identity", ["absent"], ["scores"])], []),
        "shapes that do not fit": ([node("MatMul", ["features", "wide"], ["scores"])], [wide]),
        "an axis out of range": (
            [node("Softmax", ["features"], ["x"]), node("Squeeze", ["x", "a"], ["scores"])],
            [weights("a", [99], np.int64)],
        ),
        "parts larger than the whole": (
            [node("Split", ["features", "sizes"], ["scores", "rest"], axis=1)],
            [weights("sizes", [10**10, 1], np.int64)],
        ),
        "a part of negative size": (
            [node("Split", ["features", "sizes"], ["scores", "rest"], axis=1)],
            [weights("sizes", [10**10, FEATURES - 10**10], np.int64)],
        ),
        "division by zero": (
            [node("Div", ["a", "b"], ["c"]), node("Reshape", ["features", "c"], ["scores"])],
            [weights("a", [1], np.int64), weights("b", [0], np.int64)],
        ),
    }


@pytest.mark.parametrize("case", bombs())
def test_graphs_that_take_too_much_are_refused_before_they_run(
    case: str, description: dict[str, Any]
) -> None:
    nodes, initializers = bombs()[case]
    refused(written(description, nodes, initializers))


@pytest.mark.parametrize("shape", [[], [None], [None, 3], [None, CLASSES, 1]])
def test_outputs_of_another_shape_are_refused(shape: list[int | None], description: dict[str, Any]) -> None:
    kernels = {0: np.ones(FEATURES), 1: np.ones(FEATURES), 2: np.eye(FEATURES, 3), 3: np.eye(FEATURES, 2)}
    nodes = [helper.make_node("MatMul", ["features", "kernel"], ["logits"])]
    last = {
        0: helper.make_node("ReduceSum", ["logits"], ["scores"], keepdims=0),
        1: helper.make_node("ReduceSum", ["logits", "one"], ["scores"], keepdims=0),
        2: helper.make_node("Softmax", ["logits"], ["scores"]),
        3: helper.make_node("Unsqueeze", ["logits", "two"], ["scores"]),
    }[len(shape)]
    kernel = kernels[len(shape)] if len(shape) > 1 else np.eye(FEATURES, 2)
    tables = [weights("kernel", kernel), weights("one", [1], np.int64), weights("two", [2], np.int64)]
    refused(written(description, [*nodes, last], tables, scores=shape))


@pytest.mark.parametrize("opset", [1, 5, 12, 99, 2**40])
def test_other_versions_of_the_operations_are_refused(opset: int, description: dict[str, Any]) -> None:
    nodes = [helper.make_node("Softmax", ["features"], ["scores"])]
    refused(written(description, nodes, opset=opset))


def test_weights_that_are_not_in_the_file_are_refused(description: dict[str, Any]) -> None:
    for dims in ([2**40], [2**31, 2**31], [-1, 6], [6, 2, *[1] * 30], [2**63 - 1, 2]):
        model = onnx.load_model_from_string(good(description))
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        refused(model.SerializeToString())


def test_a_file_of_very_many_messages_is_refused(description: dict[str, Any]) -> None:
    model = onnx.load_model_from_string(good(description))
    empty = b"\x0a\x00" * 300_000  # a graph of that many empty operations
    crowd = b"\x3a" + length(len(empty)) + empty
    refused(crowd, "model_corrupt")
    refused(model.SerializeToString() + crowd, "model_corrupt")
    refused(b"\x08\x07" * 10**6, "model_corrupt")


def length(number: int) -> bytes:
    """Return a protobuf varint."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("model.onnx", b"x" * 100)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        b"<html>not found</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3",
        pickle.dumps({"weights": [1.0]}),
        archive(),
        b"\x93NUMPY\x01\x00",
        b"\x28\x00\x00\x00ORTM" + b"\0" * 100,
        b"\xff" * 100,
        b"\x3a" + b"\xff" * 9 + b"\x01",
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes) -> None:
    refused(content, "model_corrupt")


def test_every_truncation_and_many_flipped_bits_raise_nothing_else(description: dict[str, Any]) -> None:
    whole = good(description)
    generator = np.random.default_rng(0)
    cut = [whole[:end] for end in range(0, len(whole), 7)]
    flipped = []
    for _ in range(300):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] ^= 1 << int(generator.integers(8))
        flipped.append(bytes(damaged))
    for content in (*cut, *flipped):
        with contextlib.suppress(ModelError):
            Model(content, "damaged.onnx").predict(np.zeros((2, FEATURES), np.float32))


@pytest.mark.skipif(os.name != "posix", reason="named pipes are of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), Path("a\0b.onnx")):
        with pytest.raises(ModelError) as caught:
            Model.read(path)
        assert caught.value.code == "model_not_found"


def test_a_file_larger_than_any_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    with file.open("wb") as stream:
        stream.truncate(10**10)  # sparse: takes no space
    with pytest.raises(ModelError, match="larger than 600 MB"):
        Model.read(file)


@pytest.mark.parametrize("unit", LARGE_DESCRIPTIONS.values(), ids=LARGE_DESCRIPTIONS)
def test_a_description_larger_than_any_is_refused_before_it_is_parsed(unit: str) -> None:
    text = filled(unit, 17 << 20)
    assert "larger than 16 MB" in refused(good(text), "model_incompatible").message


# Prints for each file the processor seconds and the megabytes of its peak.
MEASURE = """
import contextlib, json, resource, sys, time
from pathlib import Path
from genrescope.errors import ModelError
from genrescope.models import Model
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
found = {}
for file in sorted(Path(sys.argv[1]).iterdir()):
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # begins a new peak, where that is allowed
    begun = time.process_time()
    try:
        Model.read(file)
    except ModelError:
        pass
    else:
        sys.exit(f"{file} opened")
    # Not ru_maxrss, which begins with what the process that started this one had.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    found[file.name] = time.process_time() - begun, int(peak.split()[1]) // 1024
print(json.dumps(found))
"""


def write_hostile_files(description: dict[str, Any], folder: Path) -> None:
    """Write a file for each way to take time or memory."""
    contents: dict[str, bytes] = {}
    for case, change in DESCRIPTIONS.items():
        changed = json.loads(json.dumps(description))
        change(changed)
        contents[f"description: {case}"] = good(changed)
    for case, unit in LARGE_DESCRIPTIONS.items():
        contents[f"16 MB of JSON: {case}"] = good(filled(unit, (16 << 20) - 100))
    contents["JSON of depth 100,000"] = good("[" * 100_000 + "]" * 100_000)
    for case, (nodes, initializers) in bombs().items():
        contents[f"graph: {case}"] = written(description, nodes, initializers)
    for node in loops():
        contents[f"graph: {node.op_type}"] = written(description, [node], ENDLESS)
    contents["a million operations"] = b"\x3a" + length(2 * 10**6) + b"\x0a\x00" * 10**6
    contents["a million fields"] = b"\x08\x07" * 10**6
    many = [helper.make_node("Identity", [f"x{i}"], [f"x{i + 1}"]) for i in range(30_000)]
    contents["30,000 operations"] = written(description, many)
    contents["60 MB of weights"] = written(
        description,
        [helper.make_node("MatMul", ["features", "kernel"], ["scores"])],
        [weights("kernel", np.zeros((FEATURES, 2_500_000)))],
    )
    for case, content in contents.items():
        (folder / case).write_bytes(content)
    with (folder / "290 MB of zeros").open("wb") as stream:
        stream.truncate(290_000_000)  # sparse: takes no space
    with (folder / "10 GB of zeros").open("wb") as stream:
        stream.truncate(10**10)


@pytest.mark.skipif(sys.platform != "linux", reason="reads and writes /proc")
def test_refusing_takes_little_time_and_memory(description: dict[str, Any], tmp_path: Path) -> None:
    """All files together have 30 s of processor time, which other work on the machine does not use up."""
    write_hostile_files(description, tmp_path)
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert measured.returncode == 0, measured.stderr[-1000:]
    found = json.loads(measured.stdout)
    assert len(found) == len(list(tmp_path.iterdir()))
    assert {case: peak for case, (_, peak) in found.items() if peak >= 1000} == {}


@pytest.mark.parametrize(
    ("last", "kernel", "said"),
    [
        ("Identity", np.full((FEATURES, CLASSES), np.nan), "not finite"),
        ("Identity", np.full((FEATURES, CLASSES), 1e38), "not finite"),
        ("Identity", np.eye(FEATURES, CLASSES), "sum to 1"),
        ("Identity", np.array([[2.0, -1.0]] * FEATURES), "between 0 and 1"),
        ("Sigmoid", np.eye(FEATURES, CLASSES), "sum to 1"),
    ],
)
def test_scores_that_are_no_probabilities_are_an_error(
    last: str, kernel: Any, said: str, description: dict[str, Any]
) -> None:
    model = Model(good(description, last=last, kernel=kernel), "bad.onnx")
    with pytest.raises(ModelError, match=said) as caught:
        model.predict(np.full((2, FEATURES), 1000 if said == "not finite" else 1 / FEATURES, np.float32))
    assert caught.value.code == "model_output_invalid"
    assert model.name in caught.value.message


def test_features_that_are_not_finite_are_an_error(little_model: Path) -> None:
    model = Model.read(little_model)
    with pytest.raises(ModelError) as caught:
        model.predict(np.full((1, FEATURES), np.nan, np.float32))
    assert caught.value.code == "model_output_invalid"


def test_every_operation_of_the_exporters_has_the_shape_that_onnxruntime_gives(little_model: Path) -> None:
    found = graph.read_graph(little_model.read_bytes())
    for segments in (1, 5):
        shapes = graph_limits.check_graph(found, {"features": (segments, FEATURES)})
        scores = Model.read(little_model).scores(np.zeros((segments, FEATURES), np.float32))
        assert shapes == {"scores": scores.shape}


def backwards(start: int, end: int, step: int) -> tuple[Nodes, Nodes]:
    names = {"start": start, "end": end, "axis": 1, "step": step}
    return (
        [helper.make_node("Slice", ["features", *names], ["scores"])],
        [weights(name, [value], np.int64) for name, value in names.items()],
    )


def rearrangements() -> dict[str, tuple[Nodes, Nodes]]:
    """Return operations of encoders of samples whose shapes follow from other tensors."""
    node = helper.make_node
    return {
        "reversed": backwards(-1, -(1 << 63) + 1, -1),
        "reversed from beyond the end": backwards(99, 0, -2),
        "reversed from before the start": backwards(-99, -(1 << 62), -1),
        "padded": (
            [node("Pad", ["features", "amounts"], ["scores"])],
            [weights("amounts", [0, 1, 0, 3], np.int64)],
        ),
        "split by sizes": (
            [node("Split", ["features", "sizes"], ["rest", "scores"], axis=-1)],
            [weights("sizes", [4, 2], np.int64)],
        ),
        "split evenly": ([node("Split", ["features"], ["rest", "scores"], axis=1)], []),
        "expanded to the number of segments": (
            [
                node("Shape", ["features"], ["shape"]),
                node("Slice", ["shape", "zero", "one"], ["count"]),
                node("Concat", ["count", "same"], ["wanted"], axis=0),
                node("Shape", ["wanted"], ["rank"]),
                node("ConstantOfShape", ["rank"], ["ones"], value=weights("", [1], np.int64)),
                node("Equal", ["wanted", "minus"], ["is_same"]),
                node("Where", ["is_same", "ones", "wanted"], ["sizes"]),
                node("Expand", ["row", "sizes"], ["scores"]),
            ],
            [
                weights("zero", [0], np.int64),
                weights("one", [1], np.int64),
                weights("same", [-1], np.int64),
                weights("minus", [-1, -1], np.int64),
                weights("row", np.ones((1, 3))),
            ],
        ),
    }


@pytest.mark.parametrize("case", rearrangements())
def test_shapes_of_rearrangements_are_those_of_onnxruntime(case: str) -> None:
    nodes, initializers = rearrangements()[case]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
        for name in ("features", "scores")
    ]
    whole = helper.make_graph(nodes, "rearranged", ports[:1], ports[1:], initializers)
    content = helper.make_model(
        whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["scores"], {"features": np.zeros((5, FEATURES), np.float32)})
    shapes = graph_limits.check_graph(graph.read_graph(content), {"features": (5, FEATURES)})
    assert shapes == {"scores": found.shape}


def test_networks_of_samples_may_take_more(little_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_limits, "MAX_MULTIPLICATIONS", 1)
    found = graph.read_graph(little_model.read_bytes())
    with pytest.raises(graph.GraphError, match="too much"):
        graph_limits.check_graph(found, {"features": (1, FEATURES)})
    assert graph_limits.check_graph(found, {"features": (1, FEATURES)}, takes_samples=True)
