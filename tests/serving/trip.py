"""A tool for the engine's process: attention as the file named by TRIP_FILE says: "slow", "fail" or "die"."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def install(session: Any) -> None:
    functional = session.paddle.incubate.nn.functional
    attention = functional.block_multihead_attention
    order = Path(os.environ["TRIP_FILE"])

    def tripped(*tensors: Any, **named: Any) -> Any:
        word = order.read_text()
        if word == "slow":
            time.sleep(0.02)
        elif word in ("fail", "die"):
            order.write_text("")  # the next engine is healthy
            if word == "die":
                os._exit(7)
            raise OSError("the device does not answer")
        return attention(*tensors, **named)

    functional.block_multihead_attention = tripped
