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
import importlib.util
import json
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["DumpError", "Signature", "dump"]

# Backends whose registrations describe what a custom device is asked for, the most trusted first.
_BACKENDS = ("CUSTOM", "CPU")

_ATTRIBUTE_TYPES = frozenset(
    (
        *("bool", "int", "int64", "float", "double", "string", "Scalar", "IntArray", "DataType", "DataLayout", "Place"),
        *("vector<bool>", "vector<int>", "vector<int64>", "vector<float>", "vector<double>", "vector<string>"),
        "vector<Scalar>",
    )
)
"""What the ABI layer has words for; a kernel with another attribute stops the dump."""


class DumpError(RuntimeError):
    """Paddle does not look as this tool expects; the message says where."""


def _factory_module() -> Any:
    """adapter_sdk._kernel_factory by its path: the Paddle at hand may live where adapter_sdk's requirements do not."""
    path = Path(__file__).resolve().parents[1] / "adapter_sdk" / "_kernel_factory.py"
    spec = importlib.util.spec_from_file_location("_kernel_factory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_kernel_factory = _factory_module()
Signature = _kernel_factory.Signature
_loaded, _pointer = _kernel_factory.loaded, _kernel_factory.pointer


def _from_registry(notes: list[str]) -> dict[str, tuple[str, Any]]:
    factory = _kernel_factory.KernelFactory()
    found: dict[str, tuple[str, Any]] = {}
    for name, rows in factory.registrations().items():
        known = [row for backend in _BACKENDS for row in rows if row.key[0] == backend]
        if not known:
            continue
        for word in {word for row in known for word in row.attributes} - _ATTRIBUTE_TYPES:
            raise DumpError(f"kernel {name}: attribute type {word!r} is new; add it to _ATTRIBUTE_TYPES")
        signatures = {row: factory.signature(name, row) for row in known}
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

    def signature(self) -> Any:
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


def _from_operators(library: str, notes: list[str]) -> dict[str, Any]:
    """Signatures of all kernels that operators of the main dialect name."""
    symbol = re.compile(rb"_ZN6paddle7dialect\d+\w+9GetOpInfoB5cxx11Ev(?=\0)")
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = sorted({match.group().decode() for match in symbol.finditer(data)})
    if not names:
        raise DumpError(f"{library} describes no operators (no symbol like {symbol.pattern.decode()})")
    loaded = _loaded(library)
    found: dict[str, Any] = {}
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
    except (DumpError, _kernel_factory.FactoryError, ImportError) as error:
        print(f"dump_signatures: {error}", file=sys.stderr)
        return 1
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
