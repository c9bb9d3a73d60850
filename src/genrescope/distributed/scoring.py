"""Scoring on the GPU of an actor for its worker processes, which decode.

The worker processes keep what makes them safe: a file that crashes or hangs its decoder costs that file. They
hold nothing of the GPU; the actor alone opens it, once, and computes what several of them ask for as one
batch. A request and its answer are bytes on a local connection, arrays of float32 without pickle, so that
nothing that a worker process sends can run code in the actor.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import numpy as np

from genrescope.errors import OUTCOMES, DeviceError, GenrescopeError
from genrescope.inference import MAX_SEGMENTS, BatchedModel, prepare_inputs
from genrescope.models import Model, ModelInfo, ModelOutput, output_widths
from genrescope.types import FloatArray

# What an answer begins with.
_SCORES, _ERROR = b"s", b"e"
# Of worker processes that connect at the same moment.
_BACKLOG = 128


class ScoringServer:
    """Answers worker processes of this machine, each in a thread that waits for the shared batch.

    Parameters
    ----------
    model : BatchedModel
        What scores.

    Attributes
    ----------
    address : dict
        What a `RemoteScorer` needs, JSON-ready.
    """

    def __init__(self, model: BatchedModel) -> None:
        self._model = model
        key = secrets.token_bytes(32)
        self._closed = threading.Event()
        # A socket in a folder of this user, or a pipe on Windows.
        self._listener = Listener(authkey=key, backlog=_BACKLOG)
        self.address: dict[str, Any] = {
            "address": self._listener.address,
            "key": key.hex(),
            "takes_samples": model.takes_samples,
        }
        self._connections: set[Connection[Any, Any]] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True, name="genrescope scoring")
        self._thread.start()

    def close(self) -> None:
        """End the connections: those who wait for scores get a `DeviceError`."""
        self._closed.set()
        # Closing a socket does not wake the thread that waits for connections; a connection does. Without a
        # key, so that this thread waits for no reply: the other one may have ended already.
        with contextlib.suppress(OSError):
            Client(self.address["address"]).close()
        self._thread.join()
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):
                continue  # a process that was killed while it connected
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection[Any, Any]) -> None:
        """Answer a worker process until it is gone."""
        longest = 4 * MAX_SEGMENTS * int(np.prod(self._model.input_shape))
        # ValueError: a request that is no whole number of segments; that process is not to be answered.
        with contextlib.suppress(OSError, EOFError, ValueError):
            while not self._closed.is_set():
                content = connection.recv_bytes(longest)
                inputs = np.frombuffer(content, np.float32).reshape(-1, *self._model.input_shape)
                connection.send_bytes(self._answer(inputs))
        with self._lock:
            self._connections.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def _answer(self, inputs: FloatArray) -> bytes:
        try:
            outputs = self._model.predict_inputs(inputs)
        except GenrescopeError as failure:
            return _error(failure)
        except Exception as bug:  # an unforeseen failure must not leave the worker process waiting
            return _error(DeviceError("device_failed", f"{type(bug).__name__}: {bug}", "please report it"))
        return _SCORES + np.concatenate(outputs, axis=1, dtype=np.float32).tobytes()


class RemoteScorer:
    """Scores segments in the actor of this worker process, in place of a model of its own.

    For one thread, as a worker process does one job at a time.

    Parameters
    ----------
    model : Model
        The same model file as the actor's, whose description is used.
    address, key : str
        Of the `ScoringServer`.
    takes_samples : bool
        Whether it is sent samples, or the features of them.

    Raises
    ------
    DeviceError
        ``device_failed``: the actor is gone, or does not know this process.
    """

    def __init__(self, model: Model, address: str, key: str, *, takes_samples: bool) -> None:
        self._model = model
        self._takes_samples = takes_samples
        try:
            self._connection = Client(address, authkey=bytes.fromhex(key))
        except (OSError, EOFError, AuthenticationError) as reason:
            raise _gone(reason) from None

    def predict(self, samples: FloatArray) -> ModelOutput:
        """Score segments.

        Parameters
        ----------
        samples : ndarray, shape (segments, n), float32
            At the rate of the model.

        Raises
        ------
        GenrescopeError
            What the model raised in the actor, as of `BatchedModel.predict`.
        DeviceError
            ``device_failed``: the actor is gone.
        """
        inputs = prepare_inputs(self._model, samples, takes_samples=self._takes_samples)
        try:
            self._connection.send_bytes(np.ascontiguousarray(inputs, np.float32).tobytes())
            answer = self._connection.recv_bytes()
        except (OSError, EOFError) as reason:
            raise _gone(reason) from None
        if answer[:1] == _ERROR:
            raise _received(json.loads(answer[1:]))
        return _split(np.frombuffer(answer[1:], np.float32), len(samples), self._model.info)


def _error(failure: GenrescopeError) -> bytes:
    return _ERROR + json.dumps(failure.to_dict()).encode("utf8")


def _split(values: FloatArray, segments: int, info: ModelInfo) -> ModelOutput:
    """Return the outputs that lie side by side in one array."""
    widths = list(output_widths(info).values())
    table = values.reshape(segments, sum(widths))
    return ModelOutput(*np.split(table, np.cumsum(widths)[:-1], axis=1))


def _received(error: dict[str, str]) -> GenrescopeError:
    kind = DeviceError if error["code"] == "device_failed" else GenrescopeError
    assert error["code"] in OUTCOMES
    return kind(error["code"], error["message"], error["hint"])


def _gone(reason: Exception) -> DeviceError:
    return DeviceError(
        "device_failed",
        f"the process that scores is gone ({type(reason).__name__})",
        "start the work again: it goes on from here",
    )
