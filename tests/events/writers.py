"""The services that write events, each with what it needs to write one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import update

from prebuild_tasks.access import NewTokenRequest, Scope, create_token, revoke_token, rotate_token
from prebuild_tasks.claims.uncollected import end_uncollected
from prebuild_tasks.claims.waits import give_up
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools import operations
from prebuild_tasks.reconcile.turn import reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.lost_prebuilds import take_out
from prebuild_tasks.upkeep.retired_hosts import forget_host
from prebuild_tasks.upkeep.sweep import sweep, take_back_lost
from prebuild_tasks.workspaces.release import end_workspace
from tests.events.service import Service
from tests.support.builders import PRESET, build_all, declare, jump, turn

PREBUILDS, NOBODY = "prebuilds", None


def claims(service: Service) -> None:
    service.filled()
    service.claim()


def misses(service: Service) -> None:
    service.empty()
    with suppress(ClaimMissError):
        service.claim()


def waits(service: Service) -> None:
    service.empty()
    service.claim(wait=True)


def hands_over(service: Service) -> None:
    waits(service)
    build_all(service.database, service.runner)


def releases(service: Service) -> None:
    service.filled()
    end_workspace(service.database, service.claim(), actor="ada")


def deletes(service: Service) -> None:
    service.filled()
    end_workspace(service.database, service.claim(), actor="root", operator=True)


def lets_time_run_out(service: Service) -> None:
    service.filled(extra="claimed_ttl: 1h")
    service.claim()
    build_all(service.database, service.runner)
    jump(service.database, 3700)
    sweep(service.database, service.settings, lambda _: 0)


def waits_over_http(service: Service) -> None:
    service.empty()
    service.claim(wait=True, principal="portal")


def gives_up(service: Service) -> None:
    waits_over_http(service)
    give_up(service.database, service.claim_id(), actor="ada")


def does_not_come(service: Service) -> None:
    waits_over_http(service)
    build_all(service.database, service.runner)
    jump(service.database, 1000)
    end_uncollected(service.database, 900)


def forgets_a_host(service: Service) -> None:
    service.filled()
    service.claim()
    build_all(service.database, service.runner)
    service.lose_host()
    forget_host(service.database, service.settings, "old", actor="root", claimed=True)


def builds(service: Service) -> None:
    service.filled()


def cancels(service: Service) -> None:
    declare(service.database, service.settings, 1)
    turn(service.database, service.settings)
    declare(service.database, service.settings, 0, yes=True)
    turn(service.database, service.settings)


def cancels_for_its_owner(service: Service) -> None:
    waits(service)
    end_workspace(service.database, service.workspace().id, actor="root", operator=True)


def loses_its_builds(service: Service) -> None:
    """Each attempt of a build loses its worker."""
    declare(service.database, service.settings, 1)
    turn(service.database, service.settings)
    for _ in range(service.settings.build_attempts):
        with service.database.write() as connection:
            connection.execute(
                update(m.Build).values(
                    status=BuildStatus.RUNNING, attempt=m.Build.attempt + 1, runner="dead",
                    heartbeat_at=service.database.now(connection), started_at=service.database.now(connection),
                )
            )  # fmt: skip
            connection.execute(update(m.Workspace).values(status=BuildStatus.RUNNING))
        take_back_lost(service.database, service.settings, "dead")


def fails(service: Service) -> None:
    declare(service.database, service.settings, 1, start="false")
    turn(service.database, service.settings)
    build_all(service.database, service.runner)


def falls_short(service: Service) -> None:
    service.filled()
    service.claim()
    turn(service.database, service.settings)


def pauses(service: Service) -> None:
    service.empty()
    operations.pause(service.database, PRESET, actor="root")


def resumes(service: Service) -> None:
    pauses(service)
    operations.resume(service.database, PRESET, actor="root")


def pauses_everything(service: Service) -> None:
    operations.pause(service.database, actor="root")


def resumes_everything(service: Service) -> None:
    pauses_everything(service)
    operations.resume(service.database, actor="root")


def lets_a_pause_run_out(service: Service) -> None:
    service.empty()
    operations.pause(service.database, PRESET, actor="root", seconds=-1)
    sweep(service.database, service.settings, lambda _: 0)


def lets_the_pause_of_everything_run_out(service: Service) -> None:
    operations.pause(service.database, actor="root", seconds=-1)
    sweep(service.database, service.settings, lambda _: 0)


def promotes_by_file(service: Service) -> None:
    service.empty()
    declare(service.database, service.settings, 0, start="true; true", yes=True)


def promotes(service: Service) -> None:
    service.empty()
    declare(service.database, service.settings, 0, start="true; true", promote=False)
    with service.database.read() as connection:
        versions = m.TemplateVersion
        newest = connection.execute(versions.__table__.select().order_by(versions.id.desc()).limit(1)).one()
    operations.promote(service.database, "dev", newest.name, actor="root")


def replaces(service: Service) -> None:
    service.filled()
    operations.invalidate(service.database, PRESET, actor="root")
    jump(service.database, 1)
    operations.invalidate(service.database, PRESET, actor="root")
    turn(service.database, service.settings)


def replaces_what_is_old(service: Service) -> None:
    service.filled(extra="ttl: 1h")
    jump(service.database, 3700)
    turn(service.database, service.settings)


def replaces_a_former_version(service: Service) -> None:
    service.filled()
    declare(service.database, service.settings, 1, start="true; true", yes=True)
    former = service.workspace().preset_id
    reconcile_preset(service.database, service.settings, former)


def replaces_what_is_unhealthy(service: Service) -> None:
    service.filled()
    with service.database.write() as connection:
        workspace, now = service.workspace(), service.database.now(connection)
        take_out(connection, workspace.preset_id, {workspace.id: "it does not answer"}, now)


def loses_a_host(service: Service) -> None:
    service.filled()
    service.lose_host()
    give_up_lost(service.database, service.settings)


def fails_too_often(service: Service) -> None:
    settings = service.settings.model_copy(update={"backoff_interval": 0.0, "failure_hard_limit": 1})
    fails(service)
    turn(service.database, settings)


def reaches_its_quota(service: Service) -> None:
    service.filled(2, organizations="[{name: default, max_workspaces: 1}]")


def creates_a_token(service: Service) -> None:
    create_token(service.database, NewTokenRequest(name="portal", scope=Scope.READ), actor="root")


def rotates_a_token(service: Service) -> None:
    creates_a_token(service)
    rotate_token(service.database, "portal", 60, actor="root")


def revokes_a_token(service: Service) -> None:
    creates_a_token(service)
    revoke_token(service.database, "portal", actor="root")


WRITERS: list[tuple[EventKind, Callable[[Service], None], str | None]] = [
    (EventKind.CLAIM, claims, "ada"),
    (EventKind.MISS, misses, "ada"),
    (EventKind.MISS, waits, "ada"),
    (EventKind.HANDED_OVER, hands_over, "ada"),
    (EventKind.RELEASED, releases, "ada"),
    (EventKind.ENDED, deletes, "ada"),
    (EventKind.ENDED, lets_time_run_out, "ada"),
    (EventKind.ENDED, gives_up, "ada"),
    (EventKind.ENDED, does_not_come, "ada"),
    (EventKind.ENDED, forgets_a_host, "ada"),
    (EventKind.BUILD_ENDED, builds, PREBUILDS),
    (EventKind.BUILD_ENDED, fails, PREBUILDS),
    (EventKind.BUILD_ENDED, cancels, PREBUILDS),
    (EventKind.BUILD_ENDED, cancels_for_its_owner, "ada"),
    (EventKind.BUILD_ENDED, loses_its_builds, PREBUILDS),
    (EventKind.POOL_SHORT, falls_short, NOBODY),
    (EventKind.POOL_FULL, builds, NOBODY),
    (EventKind.PAUSED, pauses, NOBODY),
    (EventKind.PAUSED, pauses_everything, NOBODY),
    (EventKind.RESUMED, resumes, NOBODY),
    (EventKind.RESUMED, resumes_everything, NOBODY),
    (EventKind.RESUMED, lets_a_pause_run_out, NOBODY),
    (EventKind.RESUMED, lets_the_pause_of_everything_run_out, NOBODY),
    (EventKind.VERSION_PROMOTED, promotes_by_file, NOBODY),
    (EventKind.VERSION_PROMOTED, promotes, NOBODY),
    (EventKind.PREBUILD_REPLACED, replaces, PREBUILDS),
    (EventKind.PREBUILD_REPLACED, replaces_what_is_old, PREBUILDS),
    (EventKind.PREBUILD_REPLACED, replaces_a_former_version, PREBUILDS),
    (EventKind.PREBUILD_REPLACED, replaces_what_is_unhealthy, PREBUILDS),
    (EventKind.HOST_LOST, loses_a_host, PREBUILDS),
    (EventKind.LIMITS_REACHED, reaches_its_quota, NOBODY),
    (EventKind.LIMITS_REACHED, fails_too_often, NOBODY),
    (EventKind.TOKEN_CREATED, creates_a_token, NOBODY),
    (EventKind.TOKEN_CREATED, rotates_a_token, NOBODY),
    (EventKind.TOKEN_REVOKED, revokes_a_token, NOBODY),
]
"""Each kind with what lets a service write it, and the owner whom it concerns."""
ABOUT_EVERYTHING = (pauses_everything, resumes_everything, lets_the_pause_of_everything_run_out)
"""Those that are about all pools."""
