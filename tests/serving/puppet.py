"""An engine's process without an engine: a request's first token says what becomes of it."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

ANSWERS, HANGS, DIES, BABBLES, REFUSES, WAITS = range(6)


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def output(id: str, token: int, finish: str | None) -> dict[str, Any]:
    return {"id": id, "token": token, "finish": finish, "message": "", "shared": 0, "logprob": None, "top": []}


def main() -> None:
    sys.stdin.readline()
    if sys.argv[1:] == ["stillborn"]:
        say({"type": "broken", "message": "OSError: no device", "outputs": []})
        return
    say({"type": "ready", "device": "puppet:0"})
    steps, cancelled = 0, []
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "stop":
            return
        if message["type"] == "cancel":
            cancelled.append(message["id"])
            say({"type": "step", "outputs": [], "gauges": {"cancelled": cancelled}})
            continue
        request = message["request"]
        what = request["prompt"][0]
        if what == HANGS:
            time.sleep(3600)
        elif what == DIES:
            os._exit(7)
        elif what == BABBLES:
            print("Segmentation fault", flush=True)
        elif what == REFUSES:
            say({"type": "refused", "id": request["id"], "reason": "queue_full", "message": "not now"})
        elif what == WAITS:
            say({"type": "step", "outputs": [output(request["id"], 1, None)], "gauges": {"steps": steps}})
        else:
            for place in range(request["limit"]):
                steps += 1
                finish = "length" if place + 1 == request["limit"] else None
                outputs = [output(request["id"], 10 + place, finish), output("somebody else", 99, None)]
                say({"type": "step", "outputs": outputs, "gauges": {"steps": steps}})


if __name__ == "__main__":
    main()
