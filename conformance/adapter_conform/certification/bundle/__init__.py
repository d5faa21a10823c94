"""The certificate as a folder that others can check: sealed by a signature over every file, judged again from its raw
records.

``files.py``      what lies in a bundle        ``statement.py``  in-toto statement over all of it
``keys.py``       ed25519 keys                 ``envelope.py``   DSSE signature
``checking/``     what `verify` finds          ``comparing.py``  two bundles side by side
"""

from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.bundle.sealing import seal
from adapter_conform.certification.bundle.verifying import verify

__all__ = ["Finding", "seal", "verify"]
