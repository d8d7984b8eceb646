"""The mutations stay what they are: each mend that they take out is still where they look for it."""

from __future__ import annotations

import pytest

from tests.ops.mutate import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_what_it_leaves_out_is_there_once(mutation: Mutation) -> None:
    assert [(file, text) for file, text, _ in mutation.places if (ROOT / file).read_text().count(text) != 1] == []
