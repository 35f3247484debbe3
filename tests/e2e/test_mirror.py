"""`make install` where packages come from a company's mirror, behind a certificate authority of its own.

Previously uv took neither pip's mirror nor its certificates, and asked pypi.org.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from zipfile import ZipFile, ZipInfo

import pytest
import trustme

from prebuild_tasks.config import DEFAULT_PASS_ENV
from tests.support.service import BIN, ROOT

BACKEND = """
from zipfile import ZipFile
def build_editable(directory, config_settings=None, metadata_directory=None):
    name = "own-1-py3-none-any.whl"
    with ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("own-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1\\n")
        wheel.writestr("own-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("own-1.dist-info/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "own"
version = "1"
"""


def wheel(simple: Path, name: str, files: dict[str, str]) -> str:
    """Put a package into the mirror, and return its hash."""
    (simple / name).mkdir(parents=True)
    path = simple / name / f"{name}-1-py3-none-any.whl"
    with ZipFile(path, "w") as made:
        for file, content in files.items():
            entry = ZipInfo(file)
            entry.external_attr = 0o100755 << 16
            made.writestr(entry, content)
        made.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        made.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{name}-1.dist-info/RECORD", "")
    (simple / name / "index.html").write_text(f'<a href="{path.name}">{path.name}</a>')
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path, str]]:
    """Serve `tiny`, and a `uv` that runs the real one; return the URL, the authority and the hash of `tiny`."""
    simple = tmp_path / "mirror" / "simple"
    script = f'#!/bin/sh\nexec {BIN / "uv"} "$@"\n'
    wheel(simple, "uv", {"uv-1.data/scripts/uv": script})
    digest = wheel(simple, "tiny", {"tiny.py": "here = True\n"})
    authority = trustme.CA()
    certificate = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{server.server_port}/simple", certificate, digest
        server.shutdown()
        thread.join()


@pytest.mark.e2e
@pytest.mark.deploys
@pytest.mark.parametrize("in_file", [True, False], ids=["pip.conf", "variables"])
def test_install_from_the_mirror_alone(tmp_path: Path, mirror: tuple[str, Path, str], in_file: bool) -> None:
    url, certificate, digest = mirror
    project = tmp_path / "project"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    shutil.copy(ROOT / ".ci" / "uv_settings.py", project / ".ci")
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "backend.py").write_text(BACKEND)
    (project / "requirements.lock").write_text(f"tiny==1 \\\n    --hash=sha256:{digest}\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache")}
    if in_file:
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {url}\ncert = {certificate}\n")
        environment["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    else:
        environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": url, "PIP_CERT": str(certificate)}
    done = subprocess.run(
        ["make", "install", f"PYTHON={sys.executable}"], cwd=project, env=environment, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(" ")[0] for line in done.stdout.splitlines()] == ["making", "installing", "installing"]
    subprocess.run([str(project / ".venv/bin/python"), "-c", "import tiny; assert tiny.here"], check=True)


def test_settings_of_pip_become_variables_of_uv() -> None:
    spec = importlib.util.spec_from_file_location("uv_settings", ROOT / ".ci" / "uv_settings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listed = [
        ":env:.index-url='https://mine/simple'",
        "global.cert='/etc/company.pem'",
        "global.extra-index-url='https://a/simple\\nhttps://b/simple'",
        "global.index-url='https://company/simple'",
        "install.find-links='/wheels /more'",
        "freeze.timeout='10'",
    ]
    pip = module.settings(listed)
    found = module.variables(pip, (23, 2), {"SSL_CERT_FILE": "/etc/own.pem", "UV_INDEX_STRATEGY": ""})
    assert found == {
        "UV_NATIVE_TLS": "1",
        "UV_SYSTEM_CERTS": "1",
        "UV_DEFAULT_INDEX": "https://mine/simple",
        "UV_EXTRA_INDEX_URL": "https://a/simple https://b/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    own = module.variables({}, (23, 2), {"REQUESTS_CA_BUNDLE": "/etc/own.pem"})
    assert own == module.variables({}, (24, 2), {}) == {"UV_NATIVE_TLS": "1", "UV_SYSTEM_CERTS": "1"}
    unpassed = {name for name in module.VARIABLES.values() if not _is_passed_on(name)}
    assert unpassed == set(), "the example's workspaces install packages, too"


def _is_passed_on(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in DEFAULT_PASS_ENV.split(","))
