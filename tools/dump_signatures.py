"""Write down the kernel signatures of one Paddle release, as JSON.

    python tools/dump_signatures.py [--paddle DIR] [--out FILE]

Run it under a Python in which some paddlepaddle can be imported; ``--paddle DIR`` prefers the one unpacked in DIR.
Two sources are read, both of them Paddle's own account of itself:

``registry``  phi's KernelFactory: every kernel compiled into the wheel. Numbers and attribute types come from its
              printed form, the kinds of tensor arguments (single, optional, list) from its argument definitions in
              memory, which are believed only where their numbers equal the printed ones.
``op_info``   the operator descriptions of Paddle's IR, for kernels that this wheel does not carry but may be asked
              for on a device (flash_attn, weight_only_linear ...).

Format: ``{"paddle": "3.3.1", "kernels": {name: {"source", "inputs", "attributes", "outputs"}}, "disagreements":
[text]}``, where ``source`` is "CUSTOM", "CPU" or "op_info" (the first that knows the kernel) and the three others
are lists of the words that kernel authors use: ``Tensor``, ``OptionalTensor``, ``TensorList`` ...; ``bool``,
``int64``, ``Scalar``, ``vector<int>`` ....
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["DumpError", "Signature", "dump"]

# Backends whose registrations describe what a custom device is asked for, the most trusted first.
_BACKENDS = ("CUSTOM", "CPU")

# phi::DataLayout and phi::DataType, by the names in which kernel keys are printed.
_LAYOUTS = {"Undefined(AnyLayout)": 0, "STRIDED": 9}
_DTYPES = {
    name: number
    for number, name in enumerate(
        (
            *("Undefined", "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32"),
            *("float64", "complex64", "complex128", "pstring", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
        )
    )
}
_BACKEND_NUMBERS = {"CPU": 1, "CUSTOM": 8}

_ATTRIBUTE_TYPES = {
    name: name.replace("int64_t", "int64")
    for name in (
        *("bool", "int", "int64_t", "float", "double", "string", "Scalar", "IntArray", "DataType", "DataLayout"),
        *("Place", "vector<bool>", "vector<int>", "vector<int64_t>", "vector<float>", "vector<double>"),
        *("vector<string>", "vector<Scalar>"),
    )
}


class DumpError(RuntimeError):
    """Paddle does not look as this tool expects; the message says where."""


@dataclass(frozen=True)
class Signature:
    """A kernel's arguments: three tuples of words."""

    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return "|".join(",".join(part) for part in (self.inputs, self.attributes, self.outputs))


# ---- phi's kernel registry, printed ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Registration:
    """One kernel key of one kernel, as printed: the tensors are only numbers here."""

    key: tuple[str, str, str]  # backend, layout, dtype
    n_inputs: int
    attributes: tuple[str, ...]
    n_outputs: int


def _loaded(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
    except OSError as error:
        raise DumpError(f"{name} is not loaded by `import paddle`: {error}") from error


def _printed_registry(phi: ctypes.CDLL) -> str:
    """What `std::cout << phi::KernelFactory::Instance()` prints."""
    cpp = _loaded("libstdc++.so.6")
    stdout = ctypes.addressof(ctypes.c_char.in_dll(cpp, "_ZSt4cout"))
    instance = phi._ZN3phi13KernelFactory8InstanceEv
    instance.restype = ctypes.c_void_p
    shift = phi._ZN3philsERSoRNS_13KernelFactoryE
    shift.argtypes, shift.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_void_p
    flush = cpp._ZNSo5flushEv
    flush.argtypes, flush.restype = [ctypes.c_void_p], ctypes.c_void_p
    flush(stdout)
    sys.stdout.flush()
    with tempfile.TemporaryFile() as sink:
        kept = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            shift(stdout, instance())
            flush(stdout)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        sink.seek(0)
        return sink.read().decode()


def _parse_registry(text: str) -> dict[str, list[_Registration]]:
    found: dict[str, list[_Registration]] = {}
    key = re.compile(
        r'\{"\((\w+), ([^"]*), (\w+)\)":'  # backend, layout, dtype
        r'\{"input":\[(.*?)\],\s*"output":\[(.*?)\],\s*"attribute":\[(.*?)\]\}\}',
        re.S,
    )
    pieces = re.split(r'^\{?"(\S+) ":\[$', text, flags=re.M)
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        rows = []
        for backend, layout, dtype, inputs, outputs, attributes in key.findall(body):
            words = tuple(_attribute(word, name) for word in re.findall(r'"([^"]*)"', attributes))
            rows.append(_Registration((backend, layout, dtype), _count(inputs), words, _count(outputs)))
        printed = body.count('"input":[')
        if len(rows) != printed:
            raise DumpError(f"kernel {name}: {printed} keys printed, {len(rows)} understood")
        found[name] = rows
    if not found:
        raise DumpError(f"nothing understood of {len(text)} characters printed by KernelFactory: {text[:200]!r}")
    return found


def _count(printed: str) -> int:
    """Tensors in a printed list: `backend: CPU,  layout: NCHW,  dtype: bool` since 3.3, `"CPU, NCHW, bool"` before."""
    return len(re.findall(r'backend:|"[^"]*"', printed))


def _attribute(printed: str, kernel: str) -> str:
    if printed not in _ATTRIBUTE_TYPES:
        raise DumpError(f"kernel {kernel}: attribute type {printed!r} is new; add it to _ATTRIBUTE_TYPES")
    return _ATTRIBUTE_TYPES[printed]


# ---- the same registry in memory: kinds of tensor arguments ---------------------------------------------------------


def _u32(address: int) -> int:
    return ctypes.c_uint32.from_address(address).value


def _pointer(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


class _StdString(ctypes.Structure):
    """libstdc++'s std::string, to be passed by const reference."""

    _fields_: ClassVar = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("local", ctypes.c_char * 16)]

    @classmethod
    def of(cls, text: str) -> _StdString:
        return cls(text.encode(), len(text), b"")


class _KernelKey(ctypes.Structure):
    """phi::KernelKey."""

    _fields_: ClassVar = [("backend", ctypes.c_uint8), ("layout", ctypes.c_int), ("dtype", ctypes.c_int)]

    @classmethod
    def of(cls, key: tuple[str, str, str]) -> _KernelKey:
        try:
            return cls(_BACKEND_NUMBERS[key[0]], _LAYOUTS[key[1]], _DTYPES[key[2]])
        except KeyError as error:
            raise DumpError(f"kernel key {key}: {error} is new; add its number") from error


class _ArgumentDefinitions:
    """Reads phi::Kernel (function pointer at 64, KernelArgsDef at 80): small vectors of 24-byte TensorArgDef."""

    _FUNCTION, _DEFINITIONS = 64, 80
    _ELEMENT, _TYPE, _INLINE = 24, 16, 15
    _NEXT = 16 + _ELEMENT * _INLINE
    _SELECT = (
        "_ZNK3phi13KernelFactory12SelectKernelERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_9KernelKeyE"
    )

    def __init__(self, phi: ctypes.CDLL) -> None:
        self._instance = phi._ZN3phi13KernelFactory8InstanceEv
        self._instance.restype = ctypes.c_void_p
        self._select = getattr(phi, self._SELECT)
        self._select.argtypes, self._select.restype = [ctypes.c_void_p] * 3, ctypes.c_void_p

    def kinds(self, kernel: str, row: _Registration) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Kinds of inputs and outputs; raises DumpError where memory and the printed numbers disagree."""
        name, key = _StdString.of(kernel), _KernelKey.of(row.key)
        selected = self._select(self._instance(), ctypes.addressof(name), ctypes.addressof(key))
        if not _pointer(selected + self._FUNCTION):
            raise DumpError(f"kernel {kernel}: KernelFactory printed the key {row.key} but does not find it")
        inputs = selected + self._DEFINITIONS
        return self._vector(inputs, row.n_inputs, kernel), self._vector(inputs + self._NEXT, row.n_outputs, kernel)

    def _vector(self, address: int, expected: int, kernel: str) -> tuple[str, ...]:
        begin, size, capacity = _pointer(address), _u32(address + 8), _u32(address + 12)
        if size != expected or capacity < max(size, self._INLINE):
            raise DumpError(f"kernel {kernel}: {size} definitions (capacity {capacity}) in memory, {expected} printed")
        return tuple(self._kind(begin + i * self._ELEMENT + self._TYPE) for i in range(size))

    @staticmethod
    def _kind(type_index: int) -> str:
        return _tensor_kind(ctypes.string_at(_pointer(_pointer(type_index) + 8)).decode().lstrip("*"))


def _tensor_kind(mangled: str) -> str:
    """The word for a mangled argument type: "OptionalTensorList" for optional<vector<const DenseTensor*>>."""
    base = re.search(r"N3phi(\d+)", mangled)
    if base is None:
        raise DumpError(f"argument type {mangled!r} is none of phi's; extend _tensor_kind")
    name = mangled[base.end() : base.end() + int(base.group(1))]
    # A list of TensorBase is what Paddle's own sources write where any kind of tensor may stand, as in add_n.
    word = {"DenseTensor": "Tensor", "TensorBase": "Tensor"}.get(name, name)
    return ("Optional" if "8optional" in mangled else "") + word + ("List" if "St6vector" in mangled else "")


def _signature(definitions: _ArgumentDefinitions, kernel: str, row: _Registration) -> Signature:
    inputs, outputs = definitions.kinds(kernel, row)
    return Signature(inputs, row.attributes, outputs)


def _from_registry(notes: list[str]) -> dict[str, tuple[str, Signature]]:
    phi = _loaded("libphi_core.so")
    definitions = _ArgumentDefinitions(phi)
    found: dict[str, tuple[str, Signature]] = {}
    for name, rows in _parse_registry(_printed_registry(phi)).items():
        known = [row for backend in _BACKENDS for row in rows if row.key[0] == backend]
        if not known:
            continue
        signatures = {row: _signature(definitions, name, row) for row in known}
        found[name] = (known[0].key[0], signatures[known[0]])
        for signature in sorted({str(other) for other in signatures.values()} - {str(signatures[known[0]])}):
            keys = ["/".join(row.key) for row in known if str(signatures[row]) == signature]
            notes.append(f"{name}: {found[name][1]} in {found[name][0]}, but {signature} in {', '.join(keys)}")
    return found


# ---- descriptions of operators in Paddle's IR ------------------------------------------------------------------------

# paddle::dialect's attribute type names of operator descriptions.
_IR_ATTRIBUTES = {
    "pir::BoolAttribute": "bool",
    "pir::Int32Attribute": "int",
    "pir::Int64Attribute": "int64",
    "pir::FloatAttribute": "float",
    "pir::DoubleAttribute": "double",
    "pir::StrAttribute": "string",
    "paddle::dialect::ScalarAttribute": "Scalar",
    "paddle::dialect::IntArrayAttribute": "IntArray",
    "paddle::dialect::DataTypeAttribute": "DataType",
    "paddle::dialect::DataLayoutAttribute": "DataLayout",
    "paddle::dialect::PlaceAttribute": "Place",
    "pir::ArrayAttribute<pir::BoolAttribute>": "vector<bool>",
    "pir::ArrayAttribute<pir::Int32Attribute>": "vector<int>",
    "pir::ArrayAttribute<pir::Int64Attribute>": "vector<int64>",
    "pir::ArrayAttribute<pir::FloatAttribute>": "vector<float>",
    "pir::ArrayAttribute<pir::DoubleAttribute>": "vector<double>",
    "pir::ArrayAttribute<pir::StrAttribute>": "vector<string>",
    "pir::ArrayAttribute<paddle::dialect::ScalarAttribute>": "vector<Scalar>",
}


def _string(address: int) -> str:
    """Value of a std::string."""
    return ctypes.string_at(_pointer(address), _pointer(address + 8)).decode()


def _elements(address: int, size: int) -> Iterator[int]:
    """Addresses of the elements of a std::vector."""
    begin, end = _pointer(address), _pointer(address + 8)
    if (end - begin) % size:
        raise DumpError(f"a vector of {end - begin} bytes does not hold elements of {size} bytes")
    return iter(range(begin, end, size))


class _OperatorInfo:
    """paddle::dialect::OpInfoTuple: string, OpRunTimeInfo, outputs, attributes, inputs, in this order in memory."""

    _BYTES, _RUNTIME, _OUTPUTS, _ATTRIBUTES, _INPUTS = 448, 32, 376, 400, 424
    _KERNEL, _PARAMETERS = _RUNTIME + 56, _RUNTIME + 88

    def __init__(self, describe: Any) -> None:
        # The caller's buffer for the returned object is the hidden first argument. The object is never destroyed.
        self._buffer = ctypes.create_string_buffer(self._BYTES)
        describe.argtypes, describe.restype = [ctypes.c_void_p], ctypes.c_void_p
        address = describe(ctypes.addressof(self._buffer))
        self.kernel = _string(address + self._KERNEL)
        self._parameters = [_string(at) for at in _elements(address + self._PARAMETERS, 32)]
        self._inputs = {_string(at): at for at in _elements(address + self._INPUTS, 72)}
        self._attributes = {_string(at): _string(at + 32) for at in _elements(address + self._ATTRIBUTES, 96)}
        self._outputs = [_string(at + 32) for at in _elements(address + self._OUTPUTS, 72)]

    def signature(self) -> Signature:
        """The kernel's signature; raises DumpError for a type that kernels here have no word for."""
        inputs: list[str] = []
        attributes: list[str] = []
        for name in self._parameters:
            at = self._inputs.get(name)
            if at is None:
                attributes.append(self._attribute(name))
                continue
            is_optional, _, is_attribute = ctypes.string_at(at + 64, 3)
            if is_attribute:
                attributes.append(_ir_attribute(_string(at + 32)))
            else:
                inputs.append(("Optional" if is_optional else "") + _ir_tensor(_string(at + 32)))
        return Signature(tuple(inputs), tuple(attributes), tuple(map(_ir_tensor, self._outputs)))

    def _attribute(self, name: str) -> str:
        if name not in self._attributes:
            raise DumpError(f"kernel {self.kernel}: parameter {name} is neither input nor attribute")
        return _ir_attribute(self._attributes[name])


def _ir_attribute(type_name: str) -> str:
    if type_name not in _IR_ATTRIBUTES:
        raise DumpError(f"attribute type {type_name} of the IR is new; add it to _IR_ATTRIBUTES")
    return _IR_ATTRIBUTES[type_name]


def _ir_tensor(type_name: str) -> str:
    suffix = "List" if type_name.startswith("pir::VectorType<") else ""
    base = type_name.removeprefix("pir::VectorType<").removesuffix(">").removeprefix("paddle::dialect::")
    return base.removesuffix("Type").replace("DenseTensor", "Tensor") + suffix


def _from_operators(library: str, notes: list[str]) -> dict[str, Signature]:
    """Signatures of all kernels that operators of the main dialect name."""
    symbol = re.compile(rb"_ZN6paddle7dialect\d+\w+9GetOpInfoB5cxx11Ev(?=\0)")
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = sorted({match.group().decode() for match in symbol.finditer(data)})
    if not names:
        raise DumpError(f"{library} describes no operators (no symbol like {symbol.pattern.decode()})")
    loaded = _loaded(library)
    found: dict[str, Signature] = {}
    for name in names:
        info = _OperatorInfo(getattr(loaded, name))
        if not info.kernel:
            continue
        signature = info.signature()
        if found.setdefault(info.kernel, signature) != signature:
            notes.append(f"{info.kernel}: described as {found[info.kernel]} and, by {name}, as {signature}")
    return found


# ---- both together --------------------------------------------------------------------------------------------------


def dump() -> dict[str, Any]:
    """The dump of the Paddle that `import paddle` finds, as described at the head of this file.

    Raises DumpError where this Paddle's binaries do not look as expected, ImportError where there is no Paddle.
    """
    paddle: Any = importlib.import_module("paddle")
    notes: list[str] = []
    registered = _from_registry(notes)
    described = _from_operators(paddle.base.libpaddle.__file__, notes)
    chosen = {name: ("op_info", signature) for name, signature in described.items()} | registered
    kernels = {
        name: {
            "source": source,
            "inputs": list(signature.inputs),
            "attributes": list(signature.attributes),
            "outputs": list(signature.outputs),
        }
        for name, (source, signature) in sorted(chosen.items())
    }
    return {"paddle": paddle.version.full_version, "kernels": kernels, "disagreements": sorted(notes)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write down the kernel signatures of one Paddle release, as JSON.")
    parser.add_argument("--paddle", metavar="DIR", type=Path, help="folder that holds the unpacked package `paddle`")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where to write (default: standard output)")
    options = parser.parse_args()
    if options.paddle is not None:
        if not (options.paddle / "paddle" / "__init__.py").is_file():
            parser.error(f"--paddle: {options.paddle}/paddle is no Python package; name the folder that holds it")
        sys.path.insert(0, str(options.paddle.resolve()))
    try:
        text = json.dumps(dump(), indent=1)
    except (DumpError, ImportError) as error:
        print(f"dump_signatures: {error}", file=sys.stderr)
        return 1
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
