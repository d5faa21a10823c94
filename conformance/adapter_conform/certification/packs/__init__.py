"""Reference packs: what a reference machine measured, as a folder that can be checked file by file.

``pack.json``       name, provenance, and sha256 and size of every other file
``measurements/``   one a run: JSON, compressed
``weights/``        what recipes start from, safetensors

Nothing here unpickles, follows links or leaves the folder. NumPy, safetensors and the standard library only: it travels
with the recorder.
"""

from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.pack import Pack, builtin, read_pack

__all__ = ["Pack", "PackError", "builtin", "read_pack"]
