"""The hook by which a plugin owns up to a failure."""

import datetime

# [waivers]
from adapter_sdk import Waiver, hookimpl


@hookimpl
def adapter_waivers() -> list[Waiver]:
    return [
        Waiver(
            operator="erf",
            dtype="float16",
            reason="the table of the special function unit has 8 bits; microcode 2.4 mends it",
            link="https://bugs.mychip.example/1234",
            expires=datetime.date(2027, 3, 31),
        )
    ]


# [end]
