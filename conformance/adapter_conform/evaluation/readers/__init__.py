"""Readers of the public benchmarks' files: one module a format, each with ``read(folder) -> list[Subject]``.

They raise DataError, which names file and line, says what is wrong there and what to do.
"""
