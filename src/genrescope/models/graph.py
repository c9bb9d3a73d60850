"""An ONNX file, read field by field without onnxruntime: what has to be known of it before it may be run.

onnxruntime trusts a model: it follows paths to external data, runs loops that never end, and allocates what
a shape asks for. So a file is first read here, as protobuf messages (encoding:
https://protobuf.dev/programming-guides/encoding/, fields: onnx/onnx.proto in https://github.com/onnx/onnx).
Everything is refused that no model of this package has: subgraphs, functions, external data, sparse tensors,
custom operations, unknown fields. The package onnx is no dependency of inference, hence a reader of our own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MAX_NODES = 20_000
# Each field costs about 1 us to read here, and up to 100 bytes in onnxruntime: this many bound both.
MAX_FIELDS = 400_000
MAX_RANK = 8
# Tensors of up to so many elements are kept with their values: shapes, axes, indices.
MAX_VALUES = 1024
# Declared types of inputs, outputs and values between; a few hundred bytes in our models.
_MAX_TYPE_BYTES = 1 << 20

# The fields that are accepted, by message. What is absent is refused: functions and training code of a model,
# sparse initializers, subgraphs of attributes (bodies of Loop, If and Scan), external data and its location.
_MODEL_FIELDS = {"ir_version": 1, "opset": 8, "producer": 2, "producer_version": 3, "domain": 4}
_MODEL_FIELDS |= {"version": 5, "doc": 6, "graph": 7, "metadata": 14}
_GRAPH_FIELDS = frozenset((1, 2, 5, 10, 11, 12, 13))
_NODE_FIELDS = frozenset((1, 2, 3, 4, 5, 6, 7))
_ATTRIBUTE_FIELDS = frozenset((1, 2, 3, 4, 5, 7, 8, 9, 13, 20))
_TENSOR_FIELDS = frozenset((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12))
_DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}


class GraphError(ValueError):
    """A file that is no ONNX graph, or one with something in it that no model of this package has."""


class Value(NamedTuple):
    """A tensor: its ``shape``, and its elements as ``data`` where they are few and known without a run."""

    shape: tuple[int, ...]
    data: npt.NDArray[np.generic] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass
class Attribute:
    """A setting of a node: one of its fields has the value, by the type that the file states.

    Attributes
    ----------
    integer, number, text, integers, tensor
        The value.
    length : int
        Number of elements of a list, also where they are not kept.
    """

    integer: int = 0
    number: float = 0.0
    text: bytes = b""
    integers: list[int] = field(default_factory=list)
    length: int = 0
    tensor: Value | None = None


class Node(NamedTuple):
    """An operation.

    Attributes
    ----------
    operation : str
        Its name, with the domain before a colon.
    inputs, outputs : list of str
        Names of its tensors.
    attributes : dict of str to Attribute
        Its settings.
    """

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute]


@dataclass
class Graph:
    """What a model file holds.

    Attributes
    ----------
    nodes : list of Node
        In the order of the file, each after those that it needs.
    constants : dict of str to Value
        The weights.
    inputs, outputs : list of str
        Names.
    metadata : dict of str to bytes
    opsets : dict of str to int
        Version by domain.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Value] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)


Field = tuple[int, int | memoryview]


def read_graph(content: bytes) -> Graph:
    """Read a model file.

    Parameters
    ----------
    content : bytes
        Of the file.

    Raises
    ------
    GraphError
        It is no ONNX graph, or holds something that is refused.
    """
    return _Reader().model(memoryview(content))


class _Reader:
    """Walks over the messages of one file, and counts their fields."""

    def __init__(self) -> None:
        self._fields = 0
        self._type_bytes = 0

    def model(self, content: memoryview) -> Graph:
        graph = Graph()
        known, seen = _MODEL_FIELDS, False
        for number, value in self._walk(content, frozenset(known.values()), "model"):
            if number == known["graph"]:
                if seen:  # protobuf would merge two
                    raise GraphError("it holds two graphs")
                seen = True
                self._graph(_message(value), graph)
            elif number == known["opset"]:
                domain, version = self._pair(value, "opset")
                if not isinstance(version, int):
                    raise GraphError("an opset has no version")
                graph.opsets[domain] = max(version, graph.opsets.get(domain, 0))
            elif number == known["metadata"]:
                key, text = self._pair(value, "metadata")
                if key in graph.metadata:
                    raise GraphError(f"its metadata name {key[:40]!r} twice")
                graph.metadata[key] = text if isinstance(text, bytes) else b""
        if not seen:
            raise GraphError("it holds no graph")
        return graph

    def _graph(self, content: memoryview, graph: Graph) -> None:
        for number, value in self._walk(content, _GRAPH_FIELDS, "graph"):
            if number == 1:
                graph.nodes.append(self._node(_message(value)))
                if len(graph.nodes) > MAX_NODES:
                    raise GraphError(f"it has more than {MAX_NODES} operations")
            elif number == 5:
                name, tensor = self._tensor(_message(value))
                if name in graph.constants:
                    raise GraphError(f"two weights are named {name[:40]!r}")
                graph.constants[name] = tensor
            elif number in (11, 12, 13):
                name = self._typed_name(_message(value))
                if number != 13:
                    (graph.inputs if number == 11 else graph.outputs).append(name)

    def _node(self, content: memoryview) -> Node:
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, Attribute] = {}
        operation = domain = ""
        for number, value in self._walk(content, _NODE_FIELDS, "operation"):
            if number in (1, 2):
                (inputs if number == 1 else outputs).append(_text(value))
            elif number == 4:
                operation = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                name, attribute = self._attribute(_message(value))
                if name in attributes:
                    raise GraphError(f"an operation has two settings {name[:40]!r}")
                attributes[name] = attribute
        # "ai.onnx" is another name of the default domain.
        domain = "" if domain == "ai.onnx" else domain
        return Node(f"{domain}:{operation}" if domain else operation, inputs, outputs, attributes)

    def _attribute(self, content: memoryview) -> tuple[str, Attribute]:
        name, attribute = "", Attribute()
        for number, value in self._walk(content, _ATTRIBUTE_FIELDS, "setting"):
            if number == 1:
                name = _text(value)
            elif number in (7, 8, 9):
                self._list(attribute, number, value)
            else:
                self._single(attribute, number, value)
        return name, attribute

    def _single(self, attribute: Attribute, number: int, value: int | memoryview) -> None:
        """Take over one value: a number, a text or a tensor."""
        if number == 2:
            if len(_message(value)) != 4:
                raise GraphError("not an ONNX file")
            attribute.number = struct.unpack("<f", _message(value))[0]
        elif number == 3:
            attribute.integer = _signed(value)
        elif number == 4:
            attribute.text = bytes(_message(value))
        elif number == 5:
            if attribute.tensor is not None:  # protobuf would merge two
                raise GraphError("a setting holds two tensors")
            attribute.tensor = self._tensor(_message(value))[1]

    def _list(self, attribute: Attribute, number: int, value: int | memoryview) -> None:
        """Take over elements of a list: count floats and texts, keep the first integers."""
        if number == 8:
            integers = self._integers(value)
            attribute.length += len(integers)
            attribute.integers += integers[: MAX_VALUES - len(attribute.integers)]
        else:
            attribute.length += len(_message(value)) // 4 if number == 7 else 1

    def _tensor(self, content: memoryview) -> tuple[str, Value]:
        name, kind = "", 0
        shape: list[int] = []
        data: list[int | float] = []
        raw: memoryview | None = None
        for number, value in self._walk(content, _TENSOR_FIELDS, "tensor"):
            if number == 1:
                shape += self._integers(value)
                if len(shape) > MAX_RANK:
                    raise GraphError(f"a tensor has more than {MAX_RANK} axes")
            elif number == 2:
                kind = _signed(value)
            elif number == 4 and isinstance(value, memoryview) and len(value) <= 4 * MAX_VALUES:
                data += np.frombuffer(value, "<f4").tolist()
            elif number in (5, 7) and not (isinstance(value, memoryview) and len(value) > 10 * MAX_VALUES):
                data += self._integers(value)
            elif number == 8:
                name = _text(value)
            elif number == 9:
                raw = _message(value)
        # The smallest type takes a byte for an element, so a shape that asks for more is a lie.
        if any(size < 0 for size in shape) or math.prod(shape) > len(content):
            raise GraphError(f"the tensor {name[:40]!r} of shape {tuple(shape)} is not in the file")
        return name, Value(tuple(shape), _elements(tuple(shape), kind, raw, data))

    def _typed_name(self, content: memoryview) -> str:
        self._type_bytes += len(content)
        if self._type_bytes > _MAX_TYPE_BYTES:
            raise GraphError("it declares too many types")
        return next((_text(value) for number, value in self._walk(content, None, "port") if number == 1), "")

    def _pair(self, value: int | memoryview, what: str) -> tuple[str, int | bytes]:
        key = ""
        found: int | bytes = b""
        for number, part in self._walk(_message(value), frozenset((1, 2)), what):
            if number == 1:
                key = _text(part)
            else:
                found = part if isinstance(part, int) else bytes(part)
        return "" if what == "opset" and key == "ai.onnx" else key, found

    def _integers(self, value: int | memoryview) -> list[int]:
        """Return a repeated integer field, one of its elements or all of them packed."""
        if isinstance(value, int):
            return [_signed(value)]
        found, place = [], 0
        while place < len(value):
            self._count()
            integer, place = _varint(value, place)
            found.append(_signed(integer))
        return found

    def _walk(self, content: memoryview, known: frozenset[int] | None, what: str) -> Iterator[Field]:
        """Yield the fields of a message, numbers as int and everything else as its bytes."""
        place = 0
        while place < len(content):
            self._count()
            key, place = _varint(content, place)
            number, wire = key >> 3, key & 7
            if known is not None and number not in known:
                raise GraphError(f"field {number} of a {what} is nothing that genrescope's models have")
            if wire == 0:
                integer, place = _varint(content, place)
                yield number, integer
                continue
            if wire == 2:
                length, place = _varint(content, place)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise GraphError("not an ONNX file")
            if length > len(content) - place:
                raise GraphError("it ends too early")
            yield number, content[place : place + length]
            place += length

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise GraphError(f"it has more than {MAX_FIELDS} fields")


def _elements(
    shape: tuple[int, ...], kind: int, raw: memoryview | None, data: list[int | float]
) -> npt.NDArray[np.generic] | None:
    """Return the elements of a small tensor of numbers; None for others."""
    count, dtype = math.prod(shape), _DTYPES.get(kind)
    if dtype is None or count > MAX_VALUES:
        return None
    if raw is not None and len(raw) == count * np.dtype(dtype).itemsize:
        # A copy: a view would keep the whole file in memory.
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    return np.array(data).astype(dtype).reshape(shape) if raw is None and len(data) == count else None


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise GraphError("not an ONNX file")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _signed(value: int | memoryview) -> int:
    """Return the 64-bit two's complement that protobuf writes for int32 and int64."""
    if not isinstance(value, int):
        raise GraphError("not an ONNX file")
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise GraphError("not an ONNX file")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value)).decode("utf8")
    except UnicodeDecodeError:
        raise GraphError("a name in it is not UTF-8") from None
