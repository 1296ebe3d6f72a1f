"""XGBoost's own library, called through its C API, without the Python package around it.

That package takes a second and 140 MB to import, since it brings SciPy along, and a prediction through it takes three
times as long. What is called here is documented in XGBoost's C API and is the same in every release since 1.6.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import struct
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Rows that are predicted in one call; the library keeps the results of its largest one, for each thread.
_CALL_ROWS = 16_384

_MARGIN_CONTRIBUTIONS = 2
_PADDING = 4096


class BoosterError(Exception):
    """XGBoost refuses; the message is its own, its first line."""


class NativeBooster:
    """Trained trees; any number of threads may ask at once, and each call uses one core."""

    def __init__(self, raw: bytes) -> None:
        """raw: the booster in XGBoost's UBJSON or JSON.

        Raises:
            BoosterError: XGBoost cannot read it.
        """
        self._library = _libraries()[0]
        self._handle = ctypes.c_void_p()
        self._local = threading.local()
        # XGBoost 3.2 ends the process when it loads nothing at all, and 3.4 may take all memory for what was cut short.
        if not raw.startswith(b"{") or not raw.endswith(b"}"):
            raise BoosterError("the booster is not a whole object of JSON or UBJSON")
        call = self._call
        call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        # XGBoost may read on behind the end; what it finds there must not be the length of something.
        padded = ctypes.create_string_buffer(raw, len(raw) + _PADDING)
        call("XGBoosterLoadModelFromBuffer", self._handle, padded, ctypes.c_uint64(len(raw)))
        # Not stored in the model: a loaded booster would use every core of the machine (xgboost#8869), in every worker.
        call("XGBoosterSetParam", self._handle, b"nthread", b"1")
        width, rounds = ctypes.c_uint64(), ctypes.c_int()
        call("XGBoosterGetNumFeature", self._handle, ctypes.byref(width))
        call("XGBoosterBoostedRounds", self._handle, ctypes.byref(rounds))
        self.n_features = int(width.value)
        self.n_rounds = int(rounds.value)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        # At the interpreter's end the library may be gone before.
        if handle and not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self._library.XGBoosterFree(handle)

    def save(self, form: Literal["ubj", "json"]) -> bytes:
        """The booster in XGBoost's UBJSON or JSON."""
        length, data = ctypes.c_uint64(), ctypes.c_void_p()
        config = json.dumps({"format": form}).encode()
        self._call("XGBoosterSaveModelToBuffer", self._handle, config, ctypes.byref(length), ctypes.byref(data))
        return ctypes.string_at(data.value or 0, length.value)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the trees give, shape (n, outputs), for rows of shape (n, features) in row-major order.

        NaN stands for a missing value.

        Raises:
            BoosterError: XGBoost refuses the rows.
        """
        if len(rows) <= _CALL_ROWS:
            return self._predict(rows)
        return np.concatenate(
            [self._predict(rows[start : start + _CALL_ROWS]) for start in range(0, len(rows), _CALL_ROWS)]
        )

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """As `predict`, for one row, which is rounded to float32; three times as fast.

        Raises:
            BoosterError: XGBoost refuses the row.
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """
        row: _Row
        try:
            row = self._local.row
        except AttributeError:
            row = self._local.row = _Row(self._handle, self.n_features)
        return row.predict(values)

    def contributions(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """TreeSHAP of rows of shape (n, features): shape (n, outputs, features + 1), the base value last.

        Raises:
            BoosterError: XGBoost refuses the rows.
        """
        rows = _aligned(rows)
        matrix = ctypes.c_void_p()
        config = json.dumps({"missing": float("nan"), "nthread": 1}).encode()
        self._call("XGDMatrixCreateFromDense", _array_interface(rows), config, ctypes.byref(matrix))
        try:
            result = _Result()
            config = _predict_config(_MARGIN_CONTRIBUTIONS)
            self._call("XGBoosterPredictFromDMatrix", self._handle, matrix, config, *result.references)
            return result.copy()
        finally:
            self._library.XGDMatrixFree(matrix)

    def _predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = _aligned(rows)
        result = _Result()
        self._call(
            "XGBoosterPredictFromDense", self._handle, _array_interface(rows), _PREDICT, None, *result.references
        )
        return result.copy()

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise _last_error()


class _Row:
    """Memory for one row that one thread predicts over and over, and the call that does it."""

    def __init__(self, handle: ctypes.c_void_p, width: int) -> None:
        self._values = (ctypes.c_float * width)()
        self._pack = struct.Struct(f"={width}f").pack_into
        self._result = _Result()
        interface = _interface(ctypes.addressof(self._values), (1, width))
        # This one keeps the interpreter's lock: to give it up for so short a time may cost 5 ms until it comes back.
        self._function = _libraries()[1].XGBoosterPredictFromDense
        self._arguments = (handle, interface, _PREDICT, None, *self._result.references)

    def predict(self, values: Sequence[float]) -> list[float]:
        self._pack(self._values, 0, *values)
        if self._function(*self._arguments):
            raise _last_error()
        result = self._result
        # One row: as many numbers as the last axis is long.
        return result.data[: result.shape[result.axes.value - 1]]


class _Result:
    """Where XGBoost says what it computed, which lies in memory of the calling thread until its next call."""

    def __init__(self) -> None:
        self.shape = ctypes.POINTER(ctypes.c_uint64)()
        self.axes = ctypes.c_uint64()
        self.data = ctypes.POINTER(ctypes.c_float)()
        self.references = (ctypes.byref(self.shape), ctypes.byref(self.axes), ctypes.byref(self.data))

    def copy(self) -> NDArray[np.float32]:
        shape = tuple(self.shape[: self.axes.value])
        return np.ctypeslib.as_array(self.data, shape=shape).copy()


def _predict_config(kind: int) -> bytes:
    return json.dumps(
        {
            "type": kind,
            "training": False,
            "iteration_begin": 0,
            "iteration_end": 0,
            "strict_shape": True,
            "cache_id": 0,
            "missing": float("nan"),
        }
    ).encode()


_PREDICT = _predict_config(0)


def _aligned(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tensor that lies behind a header of any length does not begin where a float may, and XGBoost refuses it."""
    return np.require(rows, dtype=np.float32, requirements=["C_CONTIGUOUS", "ALIGNED"])


def _array_interface(rows: NDArray[np.float32]) -> bytes:
    return _interface(rows.ctypes.data, rows.shape)


def _interface(address: int, shape: tuple[int, ...]) -> bytes:
    """NumPy's array interface, version 3, as XGBoost reads it."""
    kind = "<f4" if sys.byteorder == "little" else ">f4"
    return json.dumps(
        {"data": [address, True], "shape": shape, "typestr": kind, "version": 3, "strides": None}
    ).encode()


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """The library, called without and with the interpreter's lock.

    Raises:
        ImportError: it is not installed.
    """
    # Finding a package is not importing it.
    package = importlib.util.find_spec("xgboost")
    folders = [Path(folder) / "lib" for folder in (package and package.submodule_search_locations) or ()]
    name = "libxgboost.dylib" if sys.platform == "darwin" else "libxgboost.so"
    for folder in folders:
        if (folder / name).is_file():
            path = str(folder / name)
            break
    else:
        raise ImportError(f"{name} of the package xgboost is not installed; install requirements/api.txt.")
    loaded = ctypes.CDLL(path), ctypes.PyDLL(path)
    for library in loaded:
        library.XGBGetLastError.restype = ctypes.c_char_p
        for function in ("XGBoosterFree", "XGDMatrixFree"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
    return loaded


def _last_error() -> BoosterError:
    message = (_libraries()[1].XGBGetLastError() or b"").decode(errors="replace").strip()
    return BoosterError(message.splitlines()[0] if message else "XGBoost failed without a word")
