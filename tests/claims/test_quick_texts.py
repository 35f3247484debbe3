"""The texts of a quick claim are what SQLAlchemy makes of the tables and the rules of this release."""

from __future__ import annotations

from prebuild_tasks.claims.one_statement import statement_text
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.claims.results import ANSWER_NAMES, RESULT_NAMES
from prebuild_tasks.claims.statements import statements
from prebuild_tasks.db.types import db_now
from tests.support.claim_texts import module_text


def test_the_texts_are_those_that_are_generated() -> None:
    """If this fails, a table or a rule has changed: run `python -m tests.support.claim_texts` and `make format`."""
    kept = {name: value for name, value in vars(texts).items() if name.isupper()}
    assert kept == dict(statements())


def test_the_module_that_is_written_holds_them() -> None:
    written: dict[str, object] = {}
    exec(compile(module_text(), "texts", "exec"), written)
    assert {name: value for name, value in written.items() if name.isupper()} == dict(statements())


def test_the_text_is_the_statement_of_every_other_claim() -> None:
    assert statement_text(db_now(), versioned=False) == texts.CLAIM
    assert statement_text(db_now(), versioned=True) == texts.CLAIM_VERSION


def test_its_result_has_the_columns_that_are_read() -> None:
    selected = texts.CLAIM.rpartition("SELECT hit.id")[2].partition(" FROM pool LEFT")[0]
    places = [selected.rfind(name) for name in RESULT_NAMES[1:]]
    assert -1 not in places
    assert places[-1] == max(places)
    returned = texts.SQLITE_TAKE.rpartition(" RETURNING ")[2].partition(", EXISTS")[0]
    assert returned.split(", ") == list(ANSWER_NAMES)
