"""``python -m adapter_conform.collectives.attendant SOCKET PLUGIN SEED``: what the launcher starts for each rank.

It starts the rank as a child, tells the crew when that has ended, and stays until the crew hangs up. When a rank dies,
the launcher would otherwise end all others before one can see what they make of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from multiprocessing.connection import Client

from adapter_conform.collectives.lifeline import die_with_parent


def main() -> None:
    die_with_parent()
    crew = Client(sys.argv[1], family="AF_UNIX")
    crew.send_bytes(json.dumps({"attendant": int(os.environ["PADDLE_TRAINER_ID"])}).encode())
    status = subprocess.run([sys.executable, "-m", "adapter_conform.collectives.rank", *sys.argv[1:]]).returncode
    with contextlib.suppress(OSError, EOFError):  # the crew has hung up
        crew.send_bytes(json.dumps({"ended": status}).encode())
        crew.recv_bytes()


if __name__ == "__main__":
    main()
