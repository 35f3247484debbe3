"""The contracts of import-linter catch the imports that they forbid, and faces and rules load nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "prebuild_tasks"
GROUND = {"cli", "db", "examples", "model", "schema", "worker"}
"""Packages without a face: others import their modules, or nothing does."""
DOMAINS = sorted({file.parent.name for file in PACKAGE.glob("*/__init__.py")} - GROUND)
FACES = sorted(
    ".".join(("prebuild_tasks", *file.parent.relative_to(PACKAGE).parts))
    for file in PACKAGE.rglob("__init__.py")
    if "__all__ = " in file.read_text()
)
RULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in (*PACKAGE.rglob("rules.py"), *PACKAGE.rglob("rules/*.py"), *PACKAGE.glob("model/*.py"))
)
FORBIDDEN = [
    ("Layers: an import points only downward", "schema.tables", "prebuild_tasks.cli.main"),
    ("Provisioners import the port", "provisioners.process.adapter", "prebuild_tasks.provisioners.docker.names"),
    ("Rules are pure", "fleet.rules", "sqlalchemy"),
    ("Rules are pure", "access.rules", "prebuild_tasks.clock"),
    ("Rules are pure", "reconcile.rules.decide", "redis"),
    ("Rules are pure", "schema.rules", "prebuild_tasks.schema.tables"),
    ("Rules are pure", "upkeep.rules", "prebuild_tasks.upkeep.strays.store"),
    ("Rules are pure", "workspaces.rules", "prebuild_tasks.workspaces.store"),
    ("Rules are pure", "claims.rules", "sqlalchemy"),
    ("Rules are pure", "builds.rules", "prebuild_tasks.builds.store"),
    ("Rules are pure", "pools.rules", "prebuild_tasks.config"),
    ("Rules are pure", "insight.plan.rules", "prebuild_tasks.clock"),
    ("Rules are pure", "model.names", "prebuild_tasks.db.engine"),
    ("Rules are pure", "reconcile.rules.state", "prebuild_tasks.schema.conditions"),
    ("Rules are pure", "reconcile.rules.limits", "prebuild_tasks.reconcile.store.in_flight"),
    ("A quick claim imports no library", "claims.quick.port", "sqlalchemy"),
    ("A quick claim imports no library", "messaging.direct", "kombu"),
    ("A quick claim imports no library", "access.types", "pydantic"),
    ("Faces have no queries", "cli.completion", "prebuild_tasks.schema.tables"),
    ("Faces have no queries", "cli.main", "sqlalchemy"),
    ("Faces have no queries", "web.charts", "sqlalchemy"),
    ("Faces have no queries", "web.charts", "prebuild_tasks.schema.workspace_tables"),
    ("The page, the Python API and the tasks", "web.report_page", "prebuild_tasks.db.engine"),
    ("The page, the Python API and the tasks", "client", "prebuild_tasks.schema.lookup"),
    ("Only the app, the tasks and the workers", "upkeep.sweep", "celery"),
    ("Only the command line imports", "claims.take", "typer"),
    ("Only the command line imports", "worker.signals", "rich"),
    ("Only faces and the types of the Python API", "claims.take", "prebuild_tasks.json_views"),
    ("Only the app and the tasks import", "client", "prebuild_tasks.worker.beat"),
    ("Other domains import access", "cli.main", "prebuild_tasks.access.rules"),
    ("Other domains import builds", "cli.main", "prebuild_tasks.builds.runner"),
    ("Other domains import claims", "cli.main", "prebuild_tasks.claims.take"),
    ("Other domains import events", "cli.main", "prebuild_tasks.events.reading"),
    ("Other domains import fleet", "cli.main", "prebuild_tasks.fleet.hosts"),
    ("Other domains import insight", "cli.main", "prebuild_tasks.insight.status.listings"),
    ("Other domains import messaging", "cli.main", "prebuild_tasks.messaging.redis"),
    ("Other domains import pools", "cli.main", "prebuild_tasks.pools.file.load"),
    ("Other domains import provisioners", "cli.main", "prebuild_tasks.provisioners.registry"),
    ("Other domains import reconcile", "cli.main", "prebuild_tasks.reconcile.rules.decide"),
    ("Other domains import remote", "cli.main", "prebuild_tasks.remote.session"),
    ("Only the client of the HTTP API imports httpx", "cli.main", "httpx"),
    ("Only what checks addresses imports httpcore", "webhooks.signing", "httpcore"),
    ("Rules are pure", "webhooks.addresses", "prebuild_tasks.clock"),
    ("Other domains import upkeep", "cli.main", "prebuild_tasks.upkeep.sweep"),
    ("Other domains import web through", "cli.main", "prebuild_tasks.web.charts"),
    ("Other domains import webhooks", "cli.main", "prebuild_tasks.webhooks.connector"),
    ("Other domains import workspaces", "cli.main", "prebuild_tasks.workspaces.outbox"),
]
"""Forbidden imports: the contract that refuses each, and the module it is added to."""


@pytest.fixture(scope="module")
def linted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return import-linter's output for a copy with all forbidden imports."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for _, importer, imported in FORBIDDEN:
        with (copy / PACKAGE.name / f"{importer.replace('.', '/')}.py").open("a") as module:
            module.write(f"\nimport {imported}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    wide = {**os.environ, "COLUMNS": "500"}  # import-linter wraps long lines
    done = subprocess.run(command, cwd=copy, env=wide, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize(("contract", "importer", "imported"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(linted: str, contract: str, importer: str, imported: str) -> None:
    assert re.search(rf"^{re.escape(contract)}.* BROKEN", linted, re.MULTILINE)
    sections = re.split(r"^(.+)\n-+\n", linted.split("Broken contracts\n")[1], flags=re.MULTILINE)
    [told] = [text for name, text in zip(sections[1::2], sections[2::2], strict=True) if name.startswith(contract)]
    assert re.search(rf"prebuild_tasks\.{re.escape(importer)} -> {re.escape(imported)}\b", told)


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_domain_is_protected(domain: str) -> None:
    configured = (ROOT / "pyproject.toml").read_text()
    assert f'protected_modules = ["prebuild_tasks.{domain}.*"]' in configured


def test_rules_may_import_nothing_of_schema_but_its_rules() -> None:
    configured = (ROOT / "pyproject.toml").read_text()
    contract = configured.split('name = "Rules are pure')[1].split("[[")[0]
    modules = {path.stem for path in (PACKAGE / "schema").glob("[a-z]*.py")} - {"rules"}
    assert {name for name in modules if f'"prebuild_tasks.schema.{name}"' not in contract} == set()


def test_faces_may_import_nothing_of_schema_but_its_lookup() -> None:
    configured = (ROOT / "pyproject.toml").read_text()
    contract = configured.split('name = "Faces have no queries')[1].split("[[")[0]
    modules = {path.stem for path in (PACKAGE / "schema").glob("[a-z]*.py")} - {"lookup"}
    assert {name for name in modules if f'"prebuild_tasks.schema.{name}"' not in contract} == set()


def test_every_contract_has_such_an_import() -> None:
    configured = (ROOT / "pyproject.toml").read_text().split("[tool.importlinter]")[1]
    names = re.findall(r'^name = "(.*)"$', configured, re.MULTILINE)
    assert len(names) >= 19
    assert [name for name in names if not any(name.startswith(contract) for contract, _, _ in FORBIDDEN)] == []


def loaded_by(modules: list[str]) -> dict[str, list[str]]:
    """Import each module in a fresh process, and return the modules that are then loaded.

    Each process is a fork of one that has imported nothing, so that an interpreter is started only once.
    """
    script = """
import importlib, json, os, sys
for name in sys.argv[1:]:
    if not os.fork():
        importlib.import_module(name)
        os.write(1, (json.dumps([name, sorted(sys.modules)]) + "\\n").encode())
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", script, *modules], capture_output=True, text=True, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_rules_load_no_database_and_no_queue() -> None:
    found = loaded_by(RULES)
    assert sorted(found) == RULES, "each was imported"
    assert len(RULES) >= 15
    heavy = {"sqlalchemy", "redis", "celery", "kombu", "psycopg", "pydantic_settings"}
    assert {
        name: kinds for name, loaded in found.items() if (kinds := heavy & {one.split(".")[0] for one in loaded})
    } == {}


def test_rules_import_nothing_when_they_are_called() -> None:
    """The tests above see only what a module imports when it is loaded."""
    late = {
        name: [ast.unparse(node) for function in functions_of(name) for node in ast.walk(function) if is_import(node)]
        for name in RULES
    }
    assert {name: imports for name, imports in late.items() if imports} == {}


def functions_of(module: str) -> list[ast.AST]:
    path = ROOT / f"{module.replace('.', '/')}.py"
    file = path if path.exists() else path.with_suffix("") / "__init__.py"
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_a_face_loads_nothing() -> None:
    found = loaded_by(["json", *FACES])
    assert set(DOMAINS) <= {face.split(".")[1] for face in FACES if "." in face}
    for face in FACES:
        parents = {face.rsplit(".", count)[0] for count in range(face.count(".") + 1)}
        ours = {name for name in found[face] if name.split(".")[0] == "prebuild_tasks"}
        assert ours <= {"prebuild_tasks.faces", *parents}
        theirs = {name.split(".")[0] for name in set(found[face]) - set(found["json"])} - set(sys.stdlib_module_names)
        assert theirs == {"prebuild_tasks"}, face


@pytest.mark.parametrize("face", FACES)
def test_a_face_resolves_each_name(face: str) -> None:
    module = __import__(face, fromlist=["__all__"])
    assert module.__all__ == list(dict.fromkeys(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert [name for name in module.__all__ if name.startswith("_")] == []
    home = Path(module.__file__).parent
    submodules = {path.stem for path in home.glob("*.py")} | {path.name for path in home.iterdir() if path.is_dir()}
    assert submodules & set(module.__all__) == set()
    with pytest.raises(AttributeError, match=f"module '{face}' has no attribute 'unheard_of'"):
        _ = module.unheard_of


@pytest.mark.parametrize("face", FACES)
def test_a_face_tells_the_type_checker_the_same_names(face: str) -> None:
    """The imports for mypy match `__all__`: mypy would not know a missing name."""
    tree = ast.parse((ROOT / face.replace(".", "/") / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    module = __import__(face, fromlist=["__all__"])
    assert typed - {"app"} == set(module.__all__)
