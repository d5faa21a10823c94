"""Acceptance as statistics: pure functions from raw records to verdicts. NumPy only; a rule a file.

``rules.py`` lists the rules of each task, ``level.py`` sums them up by the standard, ``figures.py`` is how a rule
speaks: a figure passed, failed, is inconclusive (its note says so), or informs (its limit is infinite).
"""

from adapter_conform.certification.acceptance.extras import ATTACHMENTS, Extras, Peak, Resume
from adapter_conform.certification.acceptance.figures import is_inconclusive, state_of
from adapter_conform.certification.acceptance.level import LevelVerdict, TaskVerdict, judge_level
from adapter_conform.certification.acceptance.rules import RULES, judge_measurement
from adapter_conform.certification.acceptance.soaking import Soak, soak_of

__all__ = [
    "ATTACHMENTS",
    "RULES",
    "Extras",
    "LevelVerdict",
    "Peak",
    "Resume",
    "Soak",
    "TaskVerdict",
    "is_inconclusive",
    "judge_level",
    "judge_measurement",
    "soak_of",
    "state_of",
]
