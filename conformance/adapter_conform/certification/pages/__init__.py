"""Pages of a certificate: one self-contained HTML file each, that opens anywhere, offline."""

from adapter_conform.certification.pages.certificate import render_bundle
from adapter_conform.certification.pages.comparison import render_comparison

__all__ = ["render_bundle", "render_comparison"]
