"""Our few comparisons agree with PEP 440 as the packaging library implements it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from adapter_sdk.versions import check_specifier, matches

numbers = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
versions = st.tuples(numbers, st.sampled_from(["", "rc1", ".dev5", "b2"])).map("".join)
clauses = st.one_of(
    st.tuples(st.sampled_from([">=", "<=", "<", "==", "!="]), numbers).map("".join),
    st.tuples(st.sampled_from(["==", "!="]), numbers, st.just(".*")).map("".join),
    st.tuples(st.just(">"), numbers).map("".join),
)


@settings(deadline=None, max_examples=500)
@given(versions, st.lists(clauses, min_size=1, max_size=3).map(",".join))
def test_agrees_with_packaging(version: str, specifier: str) -> None:
    assert matches(version, specifier) == SpecifierSet(specifier).contains(version, prereleases=True)


@pytest.mark.parametrize("specifier", ["", "3.3", "~=3.0", ">=3.0;<3.4", ">=3.*", ">= three"])
def test_unreadable_specifier_is_refused(specifier: str) -> None:
    with pytest.raises(ValueError, match="is not a clause"):
        check_specifier(specifier)


def test_unreadable_version_is_refused() -> None:
    with pytest.raises(ValueError, match="'unknown' is not a version"):
        matches("unknown", ">=3.0")
