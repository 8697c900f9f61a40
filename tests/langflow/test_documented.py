"""The manual says what a report can say."""

import re
from pathlib import Path

import pytest

from keyguard.langflow import Note, Outcome
from keyguard.langflow._report import LEFT_OUT_FOR

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "from-langflow.md").read_text("utf-8")


@pytest.mark.parametrize("begin", ["| outcome |", "| note |"])
def test_every_word_of_a_report_is_in_the_manual(begin):
    """Each outcome and each note has its row, in order, with its sentence and whether a row is left out for it."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \|(?: (yes)? ?\|)?$", PAGE[PAGE.index(begin) :].split("\n\n")[0], re.MULTILINE
    )
    words = Outcome if begin == "| outcome |" else Note
    assert rows == [(word.name.lower(), word.value, "yes" if word in LEFT_OUT_FOR else "") for word in words]


def test_the_plan_that_is_shown_is_made_of_real_lines():
    """The plan in the manual has no line that a report could not have."""
    shown = PAGE[PAGE.index("Would take over") :].split("```")[0].splitlines()[1:]
    sentences = {word.value for word in (*Outcome, *Note)}
    for line in shown:
        assert re.fullmatch(r"(users|keys|variables): \d+", line) or re.sub(r"^ +\d+ ", "", line) in sentences
