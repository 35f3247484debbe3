"""The number of statements of each page is the same with one and with fifty of everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, event, insert, select

from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause, resume
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces import extend
from tests.support.api import serving
from tests.support.browser import Browser
from tests.support.builders import fill, staffed
from tests.support.pool_files import load_text

FEW, MANY = 1, 50
HERS = "owner-0/hers"
TEMPLATE = """
  - name: dev-{0}
    organization: team-{0}
    provisioner: simulated
    config: {{}}
    presets: [{{name: full, desired: 1, claimed_ttl: 8h}}, {{name: empty, desired: 1}}]
"""


def grow(database: Database, settings: Settings, numbers: range) -> None:
    """Add one of everything for each number; those before it stay."""
    organizations = ", ".join(f"{{name: team-{number}}}" for number in range(numbers.stop))
    templates = "".join(TEMPLATE.format(number) for number in range(numbers.stop))
    text = f"schema: 1\norganizations: [{organizations}]\ntemplates:{templates}"
    apply(database, settings, load_text(text), ApplyOptions(actor="test"))
    for number in numbers:
        staffed(database, settings.model_copy(update={"host": f"host-{number}"}))
        create_token(database, NewTokenRequest(name=f"token-{number}", scope=Scope.READ), actor="test")
        pool, owner = f"dev-{number}/full", f"owner-{number}"
        fill(database, settings, pool)
        claim(database, ClaimRequest(owner=owner, presets=[pool], name="hers"))
        extend(database, HERS, 60.0, actor="test")
        for change in (pause, resume):
            change(database, "dev-0/empty", actor="test")
        write_output(database, number)
    for number in range(numbers.stop):  # anew, because `fill` ends all builds, and so all waits
        owner = f"waiting-{number}-of-{numbers.stop}"
        claim(database, ClaimRequest(owner=owner, presets=["dev-0/full"], wait=True))


def write_output(database: Database, number: int) -> None:
    with database.write() as connection:
        values = {"build_id": build_of_hers(database), "attempt": 1, "seq": number + 1, "text": "a line\n"}
        connection.execute(insert(m.BuildLog).values(values | {"at": datetime.now(UTC)}))


def build_of_hers(database: Database) -> str:
    owner, name = HERS.split("/")
    its = select(m.Workspace.id).where(m.Workspace.owner == owner, m.Workspace.name == name).scalar_subquery()
    with database.read() as connection:
        return str(connection.execute(select(m.Build.id).where(m.Build.workspace_id == its).limit(1)).scalar_one())


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements of all databases of this process."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        sent.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def numbers(database: Database, settings: Settings) -> dict[str, int]:
    """Return the number of statements of each page, which a process shows for the first time."""
    paths = (
        "/pools", "/pools/dev-0/full", "/pools/dev-0/empty", "/workspaces", f"/workspaces/{HERS}", "/waiting",
        "/builds", f"/builds/{build_of_hers(database)}", "/workers", "/history", "/health", "/report",
    )  # fmt: skip
    counts: dict[str, int] = {}
    with serving(database, settings) as api:
        browser = Browser(api).log_in()
        for path in paths:
            assert browser.get("/pools/no/such").status_code == 404  # so that the session is remembered
            with counted() as sent:
                assert browser.get(path).status_code == 200
            counts[path] = len(sent)
    return counts


def test_they_do_not_grow(database: Database, settings: Settings) -> None:
    grow(database, settings, range(FEW))
    few = numbers(database, settings)
    assert all(few.values())
    grow(database, settings, range(FEW, MANY))
    assert numbers(database, settings) == few
    with serving(database, settings) as api:
        assert Browser(api).log_in().get("/waiting").text.count('<tr id="waiting-') == MANY
