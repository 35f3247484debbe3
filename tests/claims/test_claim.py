"""Claims give each workspace one owner, whatever happens concurrently."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimAnswer, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, InputError, NotFoundError, PrebuildError, RefusedError
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces import transitions
from tests.support.builders import PRESET, age, declare, fill, finish_builds, preset_id, turn, workspaces
from tests.support.pool_files import load_text


def take(database: Database, owner: str = "ada", **request: object) -> ClaimAnswer:
    return claim(database, ClaimRequest(owner=owner, presets=[PRESET], **request)).answer  # type: ignore[arg-type]


def test_the_oldest_eligible_prebuild_changes_its_owner(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    oldest = workspaces(database)[2]
    age(database, 50, [oldest.id])
    answer = take(database)
    assert answer.report().keys() == {
        "workspace", "workspace_id", "preset", "owner", "url", "directory", "resource_id", "host", "request_id",
        "claimed_at", "state", "warning", "id",
    }  # fmt: skip
    assert (answer.workspace, answer.preset, answer.owner) == (oldest.name.removeprefix("prebuild-"), PRESET, "ada")
    assert (answer.resource_id, answer.state) == (f"r-{oldest.id}", "usable")
    assert (answer.workspace_id, answer.host) == (oldest.id, oldest.host)
    [row] = workspaces(database, m.Workspace.owner == "ada")
    assert (row.id, row.slot) == (oldest.id, None)
    assert turn(database, settings).created == 1, "a claim frees its slot"


def test_a_retry_with_the_same_request_id_answers_the_same_workspace(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    first, second = take(database, request_id="r1"), take(database, request_id="r1")
    assert first == second
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1
    with pytest.raises(RefusedError, match="another owner"):
        take(database, "bob", request_id="r1")


def test_the_same_request_at_once_gets_one_workspace(database: Database, settings: Settings) -> None:
    declare(database, settings, 6)
    fill(database, settings)
    answers = _at_once(6, lambda _: take(database, request_id="same"))
    assert len({answer.workspace for answer in answers}) == 1  # type: ignore[union-attr]
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 1


def test_expired_unready_and_starting_ones_are_never_claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, extra="ttl: 1h")
    with pytest.raises(ClaimMissError) as miss:
        take(database)
    assert miss.value.reason == "empty_pool"
    turn(database, settings)
    with pytest.raises(ClaimMissError) as miss:
        take(database)
    assert miss.value.reason == "starting"
    finish_builds(database)
    age(database, 3601)
    with pytest.raises(ClaimMissError) as miss:
        take(database)
    assert miss.value.reason == "expired"


def test_every_attempt_leaves_an_event(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    take(database)
    with pytest.raises(ClaimMissError):
        take(database, "bob")
    with database.read() as connection:
        rows = connection.execute(select(m.ClaimEvent).order_by(m.ClaimEvent.id)).all()
    assert [(row.owner, row.hit, row.miss_reason) for row in rows] == [("ada", True, ""), ("bob", False, "empty_pool")]
    assert all(row.latency_ms > 0 for row in rows)


def test_the_first_preset_that_has_one_wins(database: Database, settings: Settings) -> None:
    text = """
schema: 1
templates:
  - name: dev
    config: {start: "true"}
    presets: [{name: small, desired: 0}, {name: big, desired: 1}]
"""
    apply(database, settings, load_text(text), ApplyOptions(actor="t"))
    fill(database, settings, "dev/big")
    answer = claim(database, ClaimRequest(owner="ada", presets=["dev/small", "dev/big"])).answer
    assert answer.preset == "dev/big"
    with pytest.raises(ClaimMissError) as miss:
        claim(database, ClaimRequest(owner="ada", presets=["dev/small"]))
    assert miss.value.reason == "not_desired"


@pytest.mark.parametrize(
    ("desired", "hours", "scheduled", "reason"),
    [
        (3, "*", 0, "not_desired"),
        (0, "*", 3, "empty_pool"),
        (0, "other", 3, "not_desired"),
        (3, "other", 0, "empty_pool"),
    ],
)
def test_a_miss_asks_for_the_size_that_is_desired_now(
    database: Database, settings: Settings, desired: int, hours: str, scheduled: int, reason: str
) -> None:
    """Previously, any schedule counted as a desire, and a schedule to 0 as none."""
    if hours == "other":
        with database.read() as connection:
            hours = str((database.now(connection).hour + 12) % 24)
    cron = f'schedules: [{{cron: "* {hours} * * *", desired: {scheduled}}}]'
    declare(database, settings, desired, extra=f"timezone: UTC, {cron}")
    with pytest.raises(ClaimMissError) as miss:
        take(database)
    assert miss.value.reason == reason


MATCH = """
schema: 1
templates:
  - name: dev
    config: {start: "true"}
    presets:
      - {name: plain, desired: 1}
      - {name: one, desired: 1, parameters: {A: "1"}}
      - {name: two, desired: 1, parameters: {A: "1", B: "2"}}
      - {name: secret, desired: 1, parameters: {A: "1", B: "2", C: {from_env: TOKEN}}}
"""


@pytest.mark.parametrize(
    ("given", "preset"),
    [({}, "plain"), ({"A": "1"}, "one"), ({"A": "1", "B": "2", "C": "x"}, "two"), ({"A": "9", "B": "2"}, "plain")],
)
def test_matching_parameters_choose_the_preset(
    database: Database, settings: Settings, given: dict[str, str], preset: str
) -> None:
    apply(database, settings, load_text(MATCH), ApplyOptions(actor="t"))
    fill(database, settings, f"dev/{preset}")
    answer = claim(database, ClaimRequest(owner="ada", template="dev", parameters=given)).answer
    assert answer.preset == f"dev/{preset}"


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"presets": ["dev/none"]}, NotFoundError, "dev/small"),
        ({"presets": ["nonsense"]}, InputError, "template/preset"),
        ({"owner": "  "}, InputError, "empty"),
        ({"owner": "Prebuilds"}, InputError, "reserved"),
        ({"owner": "a/b"}, InputError, "printable"),
        ({"owner": "a\x1b[31m"}, InputError, "printable"),
        ({"name": "../x"}, InputError, "lower-case"),
        ({"request_id": ""}, InputError, "request id"),
        ({"presets": []}, InputError, "name either presets"),
        ({"presets": [], "template": "none"}, NotFoundError, "template none"),
    ],
)
def test_bad_claims_say_what_is_wrong_and_change_nothing(
    database: Database, settings: Settings, request_: dict[str, object], error: type[PrebuildError], words: str
) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with pytest.raises(error, match=words):
        claim(database, ClaimRequest(**{"owner": "ada", "presets": [PRESET], **request_}))  # type: ignore[arg-type]
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 1


def test_a_taken_name_is_refused(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    take(database, name="mine")
    with pytest.raises(RefusedError, match="already has a workspace named mine"):
        take(database, name="mine")
    assert take(database, "bob", name="mine").workspace == "mine"


def test_an_owner_never_gets_more_than_the_limit(database: Database, settings: Settings) -> None:
    declare(database, settings, 8, organizations="[{name: default, max_per_owner: 3}]")
    fill(database, settings)
    answers = _at_once(8, lambda _: take(database))
    assert sum(isinstance(answer, ClaimAnswer) for answer in answers) == 3
    assert all(isinstance(answer, (ClaimAnswer, RefusedError)) for answer in answers)


def test_the_claim_hook_is_a_build_a_person_waits_for(database: Database, settings: Settings) -> None:
    declare(database, settings, 1, config='claim: "true"')
    fill(database, settings)
    claimed = claim(database, ClaimRequest(owner="ada", presets=[PRESET]))
    assert (claimed.answer.state, len(claimed.follow_up.builds)) == ("personalising", 1)
    finish_builds(database)
    [row] = workspaces(database, m.Workspace.owner == "ada")
    assert (row.transition, row.status) == (Transition.START, BuildStatus.SUCCEEDED)


def test_claimers_get_distinct_workspaces_and_nobody_more_than_there_are(
    database: Database, settings: Settings
) -> None:
    declare(database, settings, 20)
    fill(database, settings)
    answers = _at_once(32, lambda number: take(database, f"owner-{number}"))
    hits = [answer for answer in answers if isinstance(answer, ClaimAnswer)]
    misses = [answer for answer in answers if isinstance(answer, ClaimMissError)]
    assert (len(hits), len(misses)) == (20, 12)
    assert len({hit.resource_id for hit in hits}) == 20


def test_a_claimer_does_not_wait_for_anothers_transaction(settings: Settings, postgres_url: str) -> None:
    database = Database(postgres_url)
    declare(database, settings, 2)
    fill(database, settings)
    with database.write() as held:
        first = workspaces(database)[0].id
        held.execute(update(m.Workspace).where(m.Workspace.id == first).values(reason="held"))
        answer = take(database)
        assert answer.resource_id != f"r-{first}"
    database.close()


def test_claim_against_delete_of_the_same_rows(database: Database, settings: Settings) -> None:
    """Exactly one side wins each row: no claimed workspace is chosen for deletion, and no chosen one is claimed."""
    declare(database, settings, 24)
    fill(database, settings)
    declare(database, settings, 0, yes=True)
    identity = preset_id(database)

    def work(number: int) -> object:
        if number % 8 == 0:
            return reconcile_preset(database, settings, identity)
        return take(database, f"o{number}")

    _at_once(32, work)
    claimed = workspaces(database, m.Workspace.owner != "prebuilds")
    assert all(row.transition is Transition.START for row in claimed)
    deleting = workspaces(database, m.Workspace.transition == Transition.DELETE)
    assert len(claimed) + len(deleting) == 24
    with database.read() as connection:
        hits = connection.execute(select(func.count()).select_from(m.ClaimEvent).where(m.ClaimEvent.hit)).scalar_one()
    assert hits == len(claimed)


def test_one_chosen_for_deletion_is_never_claimed(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with database.write() as connection:
        ids = [w.id for w in workspaces(database)]
        transitions.choose_for_deletion(connection, ids, reason="x", initiator="x", now=database.now(connection))
    with pytest.raises(ClaimMissError):
        take(database)


def _at_once(count: int, work: Callable[[int], object]) -> list[object]:
    barrier, results = threading.Barrier(count), list[object]()

    def run(number: int) -> None:
        barrier.wait()
        try:
            results.append(work(number))
        except PrebuildError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results
