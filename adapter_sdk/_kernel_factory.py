"""Reads phi's KernelFactory: every kernel that the imported Paddle has registered, as it prints it and in its memory.

Needs ``import paddle`` first, and nothing but the standard library besides. Kinds of tensor arguments (single,
optional, list) stand in memory alone; they are believed only where their numbers equal the printed ones.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["FactoryError", "KernelFactory", "Key", "Registration", "Signature", "loaded", "pointer"]

Key = tuple[str, str, str]
"""Backend, layout and dtype, as Paddle prints them."""

# phi::DataLayout and phi::DataType, by the names in which kernel keys are printed.
_LAYOUTS = {"Undefined(AnyLayout)": 0, "NHWC": 1, "NCHW": 2, "NCDHW": 3, "NDHWC": 4, "STRIDED": 9}
_DTYPES = {
    name: number
    for number, name in enumerate(
        (
            *("Undefined", "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32"),
            *("float64", "complex64", "complex128", "pstring", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
        )
    )
}
_BACKENDS = {"CPU": 1, "CUSTOM": 8}
_FIRST_CUSTOM_TYPE = 9
"""phi::Backend::NUM_BACKENDS: a custom device type's backend is this and the type's own number."""


class FactoryError(RuntimeError):
    """This Paddle's binaries do not look as expected; the message says where."""


@dataclass(frozen=True)
class Signature:
    """A kernel's arguments: three tuples of words."""

    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return "|".join(",".join(part) for part in (self.inputs, self.attributes, self.outputs))


@dataclass(frozen=True)
class Registration:
    """One kernel key of one kernel, as printed: the tensors are only numbers here."""

    key: Key
    n_inputs: int
    attributes: tuple[str, ...]
    n_outputs: int


def loaded(name: str) -> ctypes.CDLL:
    """A library that this process has loaded already. Raises FactoryError where it has not."""
    try:
        return ctypes.CDLL(name, mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
    except OSError as error:
        raise FactoryError(f"{name} is not loaded by `import paddle`: {error}") from error


def pointer(address: int) -> int:
    """The pointer that lies at ``address``."""
    return ctypes.c_uint64.from_address(address).value


class KernelFactory:
    """``phi::KernelFactory::Instance()`` of this process.

    A ``phi::Kernel`` has its functions for graphs and for eager calls at 64 and 72, and its ``KernelArgsDef`` at 80:
    small vectors of 24-byte ``TensorArgDef``.
    """

    FUNCTION, VARIADIC = 64, 72
    _DEFINITIONS = 80
    _ELEMENT, _TYPE, _INLINE = 24, 16, 15
    _NEXT = 16 + _ELEMENT * _INLINE
    _SELECT = (
        "_ZNK3phi13KernelFactory12SelectKernelERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_9KernelKeyE"
    )
    _TYPES = "_ZN3phi25CustomRegisteredDeviceMap8InstanceEv"
    _TYPE_NUMBER = (
        "_ZN3phi25CustomRegisteredDeviceMap31GetOrRegisterGlobalDeviceTypeId"
        "ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    )

    def __init__(self) -> None:
        self._phi = loaded("libphi_core.so")
        instance = self._function("_ZN3phi13KernelFactory8InstanceEv", 0)
        self._instance: int = instance()
        self._select = self._function(self._SELECT, 3)

    def registrations(self) -> dict[str, list[Registration]]:
        """Every kernel with its keys.

        Raises:
            FactoryError: what Paddle prints is not understood.
        """
        return _parse(self._printed())

    def find(self, kernel: str, key: Key) -> int:
        """Address of the ``phi::Kernel`` for a key that :meth:`registrations` has.

        Raises:
            FactoryError: the factory does not find what it has printed.
        """
        name = _StdString.of(kernel)
        wanted = _KernelKey(self._backend(key[0]), _number(_LAYOUTS, key[1]), _number(_DTYPES, key[2]))
        address: int = self._select(self._instance, ctypes.addressof(name), ctypes.addressof(wanted))
        if not pointer(address + self.FUNCTION):
            raise FactoryError(f"kernel {kernel}: KernelFactory printed the key {key} but does not find it")
        return address

    def signature(self, kernel: str, row: Registration) -> Signature:
        """Raises FactoryError where memory and the printed numbers disagree."""
        inputs = self.find(kernel, row.key) + self._DEFINITIONS
        return Signature(
            self._kinds(inputs, row.n_inputs, kernel),
            row.attributes,
            self._kinds(inputs + self._NEXT, row.n_outputs, kernel),
        )

    def type_number(self, device_type: str) -> int:
        """Paddle's own number for a custom device type."""
        types = self._function(self._TYPES, 0)()
        text = _StdString.of(device_type)
        return int(self._function(self._TYPE_NUMBER, 2)(types, ctypes.addressof(text)))

    def _kinds(self, address: int, expected: int, kernel: str) -> tuple[str, ...]:
        begin = pointer(address)
        size, capacity = (ctypes.c_uint32.from_address(address + offset).value for offset in (8, 12))
        if size != expected or capacity < max(size, self._INLINE):
            raise FactoryError(
                f"kernel {kernel}: {size} definitions (capacity {capacity}) in memory, {expected} printed"
            )
        return tuple(_kind(begin + i * self._ELEMENT + self._TYPE) for i in range(size))

    def _backend(self, name: str) -> int:
        if name in _BACKENDS:
            return _BACKENDS[name]
        return _FIRST_CUSTOM_TYPE + self.type_number(name)

    def _printed(self) -> str:
        """What `std::cout << phi::KernelFactory::Instance()` prints."""
        cpp = loaded("libstdc++.so.6")
        stdout = ctypes.addressof(ctypes.c_char.in_dll(cpp, "_ZSt4cout"))
        shift = self._function("_ZN3philsERSoRNS_13KernelFactoryE", 2)
        flush = cpp._ZNSo5flushEv
        flush.argtypes, flush.restype = [ctypes.c_void_p], ctypes.c_void_p
        flush(stdout)
        sys.stdout.flush()
        with tempfile.TemporaryFile() as sink:
            kept = os.dup(1)
            os.dup2(sink.fileno(), 1)
            try:
                shift(stdout, self._instance)
                flush(stdout)
            finally:
                os.dup2(kept, 1)
                os.close(kept)
            sink.seek(0)
            return sink.read().decode()

    def _function(self, symbol: str, n_arguments: int) -> ctypes._NamedFuncPointer:
        try:
            function = self._phi[symbol]
        except AttributeError as error:
            raise FactoryError(f"libphi_core.so exports no {symbol}") from error
        function.argtypes, function.restype = [ctypes.c_void_p] * n_arguments, ctypes.c_void_p
        return function


class _StdString(ctypes.Structure):
    """libstdc++'s std::string, to be passed by const reference."""

    _fields_: ClassVar = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("local", ctypes.c_char * 16)]

    @classmethod
    def of(cls, text: str) -> _StdString:
        return cls(text.encode(), len(text.encode()), b"")


class _KernelKey(ctypes.Structure):
    """phi::KernelKey."""

    _fields_: ClassVar = [("backend", ctypes.c_uint8), ("layout", ctypes.c_int), ("dtype", ctypes.c_int)]


def _number(table: dict[str, int], name: str) -> int:
    if name not in table:
        raise FactoryError(f"{name!r} in a kernel key is new; add its number to {__name__}")
    return table[name]


def _parse(text: str) -> dict[str, list[Registration]]:
    found: dict[str, list[Registration]] = {}
    key = re.compile(
        r'\{"\((\w+), ([^"]*), (\w+)\)":'  # backend, layout, dtype
        r'\{"input":\[(.*?)\],\s*"output":\[(.*?)\],\s*"attribute":\[(.*?)\]\}\}',
        re.S,
    )
    pieces = re.split(r'^\{?"(\S+) ":\[$', text, flags=re.M)
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        rows = []
        for backend, layout, dtype, inputs, outputs, attributes in key.findall(body):
            words = tuple(word.replace("int64_t", "int64") for word in re.findall(r'"([^"]*)"', attributes))
            rows.append(Registration((backend, layout, dtype), _count(inputs), words, _count(outputs)))
        printed = body.count('"input":[')
        if len(rows) != printed:
            raise FactoryError(f"kernel {name}: {printed} keys printed, {len(rows)} understood")
        found[name] = rows
    if not found:
        raise FactoryError(f"nothing understood of {len(text)} characters printed by KernelFactory: {text[:200]!r}")
    return found


def _count(printed: str) -> int:
    """Tensors in a printed list: `backend: CPU,  layout: NCHW,  dtype: bool` since 3.3, `"CPU, NCHW, bool"` before."""
    return len(re.findall(r'backend:|"[^"]*"', printed))


def _kind(type_index: int) -> str:
    return _tensor_kind(ctypes.string_at(pointer(pointer(type_index) + 8)).decode().lstrip("*"))


def _tensor_kind(mangled: str) -> str:
    """The word for a mangled argument type: "OptionalTensorList" for optional<vector<const DenseTensor*>>."""
    base = re.search(r"N3phi(\d+)", mangled)
    if base is None:
        raise FactoryError(f"argument type {mangled!r} is none of phi's; extend _tensor_kind")
    name = mangled[base.end() : base.end() + int(base.group(1))]
    # A list of TensorBase is what Paddle's own sources write where any kind of tensor may stand, as in add_n.
    word = {"DenseTensor": "Tensor", "TensorBase": "Tensor"}.get(name, name)
    return ("Optional" if "8optional" in mangled else "") + word + ("List" if "St6vector" in mangled else "")
