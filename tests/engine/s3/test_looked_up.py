"""What a pull gives where Airflow looks up what a task is mapped over: the same as the list itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_servers import configured

from exclusive_xcom import mapped, pull
from exclusive_xcom.codecs import Options, encoded
from exclusive_xcom.reference import Reference
from exclusive_xcom.testing.payloads import ADDRESS, attempt, stage

RNG = random.Random(1)
TEXTS = [RNG.randbytes(10_000).hex() for _ in range(80)]
# As if Airflow's own function did it.
LOOKING_UP = {"__name__": "airflow.sdk.definitions._internal.expandinput"}
exec(
    "def resolve(pull, act, *args): return act(pull(*args))\ndef sliced(found): return found[1:3]", LOOKING_UP
)


@pytest.fixture
def ref(tmp_path: Path) -> Iterator[Reference]:
    """One stored list."""
    with configured("", tmp_path.as_uri()) as store:
        yield stage(store, ADDRESS, attempt(), encoded(TEXTS, Options()))[1]


def looked_up(*args: Any, pull: Any = pull.value, act: Any = lambda found: found) -> Any:
    """What is pulled there."""
    return LOOKING_UP["resolve"](pull, act, *args)  # type: ignore[operator]


def test_it_is_a_sequence_as_the_list_is(ref: Reference) -> None:
    found = looked_up(ref, ref.row())
    assert type(found) is mapped.Items
    assert len(found) == len(TEXTS)
    assert [found[0], found[-1], found[79], found[-80]] == [TEXTS[0], TEXTS[-1], TEXTS[79], TEXTS[0]]
    for number in (80, -81):
        with pytest.raises(IndexError):
            found[number]
    assert found[1:3] == TEXTS[1:3]
    assert looked_up(ref, ref.row(), act=LOOKING_UP["sliced"]) == TEXTS[1:3]


def test_a_list_in_a_sequence_is_a_list(ref: Reference) -> None:
    """A task may be mapped over the lists that several tasks gave: each of it gets one of them."""
    found = looked_up([ref, None], [ref.row(), 5], pull=pull.values)
    assert found == [TEXTS, 5]
    assert type(found[0]) is list
