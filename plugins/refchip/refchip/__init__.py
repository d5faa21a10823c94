"""refchip, a software accelerator. Everything it declares stands in its native library."""

from adapter_sdk import NativePlugin

__all__ = ["plugin"]

plugin = NativePlugin.from_package("refchip")
