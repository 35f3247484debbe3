"""Modules that the clients load: each only what it needs, because a claim must be quick."""

from __future__ import annotations

import subprocess
import sys

from tests.support.remote_answers import CLAIMED, POOL, VIEW

MODULES = (
    "httpx", "sqlalchemy", "psycopg", "redis", "pydantic", "pydantic_settings", "kombu", "celery", "fastapi",
    "structlog", "alembic", "yaml", "prebuild_tasks.claims.rules", "prebuild_tasks.claims.session",
    "prebuild_tasks.claim_settings", "prebuild_tasks.remote.pool_steps", "prebuild_tasks.reconcile.rules.limits",
)  # fmt: skip


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*(name for name in {MODULES} if name in sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_each_client_loads_its_own_library_only() -> None:
    start = "from prebuild_tasks import Client\n"
    assert loaded(f"{start}Client('https://door.example', token='pbt_x')") == {"httpx"}
    assert "httpx" not in loaded(f"{start}Client('postgresql://x@localhost/x').database")
    assert "httpx" not in loaded("from prebuild_tasks.cli.commands import claims")


def test_a_claim_from_a_shell_far_away_loads_what_it_needs_only() -> None:
    code = (
        f"import httpx, os, sys\nfrom functools import partial\nCLAIMED={CLAIMED}\n"
        "door = httpx.MockTransport(lambda _: httpx.Response(201, json=CLAIMED))\n"
        "httpx.Client = partial(httpx.Client, transport=door)\n"
        "os.environ |= {'PREBUILD_API_URL': 'https://door.example', 'PREBUILD_API_TOKEN': 'pbt_x'}\n"
        "from prebuild_tasks.cli.main import main\n"
        "sys.stdout = sys.stderr; code = main(['claim', 'dev/small', '--owner', 'ada']); sys.stdout = sys.__stdout__\n"
        "assert code == 0"
    )
    assert loaded(code) == {"httpx", "pydantic"}, "typer reads arguments by pydantic"


def test_the_answers_of_a_claim_load_no_database() -> None:
    views = f"import httpx, json\nCLAIMED={CLAIMED}\nVIEW={VIEW}\nPOOL={POOL}\n"
    door = (
        "from prebuild_tasks.remote import RemoteSession, login_to\n"
        "from prebuild_tasks.claims import ClaimRequest\n"
        "def door(r):\n"
        "    if r.method == 'POST': return httpx.Response(201, json=CLAIMED)\n"
        "    if 'calm' in r.url.path: return httpx.Response(200, json=VIEW)\n"
        "    return httpx.Response(200, json={'items': [POOL], 'next': None})\n"
        "from functools import partial\n"
        "httpx.Client = partial(httpx.Client, transport=httpx.MockTransport(door))\n"
        "s = RemoteSession(login_to('https://door.example', 'pbt_x'))\n"
        "s.claim(ClaimRequest(owner='ada', presets=('dev/small',)))\n"
        "assert s.get('ada/calm-otter').owner == 'ada'; s.wait_until_usable('ada/calm-otter', 1); s.availability(())\n"
    )
    assert loaded(views + door) & {"sqlalchemy", "psycopg", "celery"} == set()
