"""The example that `prebuild up` declares when there are no pools, and the repository that it clones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from prebuild_tasks.errors import InputError

_PACKAGE = Path(__file__).parents[2]
"""The directory of `prebuild_tasks`."""


def example_file() -> Path:
    """Return the example's pools file. Raises InputError when it is not installed."""
    # In a checkout, `examples` stands beside the package; a wheel has it inside the package.
    for directory in (_PACKAGE.parent / "examples", _PACKAGE / "examples"):
        if (directory / "pools.yaml").exists():
            return directory / "pools.yaml"
    raise InputError("the example pools file is not installed", hint="name a file: prebuild up --file pools.yaml")


def example_repository(data_dir: Path) -> Path:
    """Return the repository that the example clones where its parameter REPO is empty.

    It is the checkout that the command runs from, or else a small one in the data directory, so that the example also
    works with an installed package. Raises InputError when that cannot be made, because git is missing.
    """
    return _checkout() or _seed_repository(data_dir)


def _checkout() -> Path | None:
    """Return the project's checkout that the command runs from; None without one."""
    root = _PACKAGE.parent
    return root if (root / ".git").exists() and (root / "pyproject.toml").exists() else None


def _seed_repository(data_dir: Path) -> Path:
    repository = data_dir / "example-repository"
    if (repository / ".git").exists():
        return repository
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "pyproject.toml").write_text(
        '[project]\nname = "hello"\nversion = "1"\n[project.optional-dependencies]\npostgres = []\n'
        '[tool.setuptools]\npy-modules = ["hello"]\n'
    )
    (repository / "hello.py").write_text('print("hello")\n')
    git = ["git", "-c", "user.name=prebuild", "-c", "user.email=prebuild@localhost"]
    try:
        for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "A package to clone"]):
            subprocess.run([*git, *step], cwd=repository, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(repository, ignore_errors=True)
        raise InputError(
            f"the example needs git: {error}", hint="install git, or name a file: --file pools.yaml"
        ) from None
    return repository
