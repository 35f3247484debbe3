"""The keys of the installation: what is derived from them, and which files are taken."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prebuild_tasks.access.key_files import installation_keys, keep_key
from prebuild_tasks.access.keys import InstallationKey, InstallationKeys, hkdf
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.errors import InputError
from prebuild_tasks.remedies import Remedy, RemedyKind

HEX, OTHER = "5f" * 32, "a7" * 48


def written(directory: Path, text: str, *, mode: int = 0o600, name: str = "key") -> Path:
    path = directory / name
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def test_a_key_is_derived_as_rfc_5869_says() -> None:
    """Test case 3 of its appendix A: no salt and no info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert hkdf(b"\x0b" * 22, b"").hex() == expected


def test_each_purpose_has_its_own_key() -> None:
    key = InstallationKey(bytes.fromhex(HEX))
    derived = {key.derive("cursors"), key.derive("webhook", "id", "1"), key.derive("webhook", "id", "2"), key.secret}
    assert len(derived) == 4
    assert {len(each) for each in derived} == {32}
    assert key.derive("cursors") == InstallationKey(bytes.fromhex(HEX)).derive("cursors")
    assert HEX not in repr(InstallationKeys((key,)))
    assert repr(key.secret) not in repr(InstallationKeys((key,)))


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        f"{HEX}\n",
        HEX.upper(),
        OTHER,
        base64.b64encode(b"\xfb" * 32).decode(),
        base64.urlsafe_b64encode(b"\xff" * 33).decode(),
        base64.b64encode(b"\xfe" * 32).decode().rstrip("=") + "\r\n",
    ],
)
def test_a_key_is_hex_or_base64(tmp_path: Path, text: str) -> None:
    [key] = installation_keys([written(tmp_path, text)], tmp_path).keys
    assert key.secret in (bytes.fromhex(HEX), bytes.fromhex(OTHER), b"\xfb" * 32, b"\xff" * 33, b"\xfe" * 32)


@pytest.mark.parametrize("text", ["", "\n", HEX[:62], "a phrase", f"{HEX}\n{HEX}", "é" * 60, "!" * 50, "a" * 5000])
def test_a_short_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="is not 32 random bytes or more, in hex or base64") as refused:
        installation_keys([written(tmp_path, text)], tmp_path)
    assert refused.value.remedy == Remedy(RemedyKind.MAKE_SECRET_KEY), "names no file, so that none is overwritten"
    assert not text.strip() or text.strip() not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, HEX, mode=mode)
    with pytest.raises(InputError, match=f"whose mode is {mode:04o}") as refused:
        installation_keys([path], tmp_path)
    assert refused.value.remedy == Remedy(RemedyKind.PROTECT_FILE, str(path))


@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o640, True), (0o660, False), (0o444, False)])
def test_the_group_may_read_what_root_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, taken: bool
) -> None:
    """So it is with the secrets of Kubernetes and with systemd's credentials."""
    path, own = written(tmp_path, HEX, mode=mode), os.fstat

    def of_root(descriptor: int) -> os.stat_result:
        return os.stat_result([0 if place == stat.ST_UID else each for place, each in enumerate(own(descriptor)[:10])])

    monkeypatch.setattr(os, "fstat", of_root)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if taken:
        assert len(installation_keys([path], tmp_path).keys) == 1
    else:
        with pytest.raises(InputError):
            installation_keys([path], tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InputError, match="cannot be read: No such file") as refused:
        installation_keys([written(tmp_path, HEX), missing], tmp_path)
    assert refused.value.remedy == Remedy(RemedyKind.MAKE_SECRET_KEY, str(missing))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        installation_keys([tmp_path], tmp_path)
    with pytest.raises(InputError, match="cannot be made: "):
        keep_key(written(tmp_path, "", name="file") / "data")


def test_a_data_directory_keeps_one_key_whoever_makes_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: installation_keys((), data_dir), range(16)))
    assert {*keys, installation_keys((), data_dir)} == {keys[0]}
    assert [path.name for path in data_dir.iterdir()] == ["secret-key"]
    assert stat.S_IMODE((data_dir / "secret-key").stat().st_mode) == 0o600


def test_the_setting_lists_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new, old = written(tmp_path, HEX, name="new"), written(tmp_path, OTHER, name="old")
    settings = load_settings({"PREBUILD_SECRET_KEY_FILE": f"new, {old}"})
    assert settings.secret_key_file == (new, old)
    keys = installation_keys(settings.secret_key_file, tmp_path / "data").keys
    assert [key.secret.hex() for key in keys] == [HEX, OTHER]
    assert not (tmp_path / "data").exists()
    assert load_settings({"PREBUILD_SECRET_KEY_FILE": ""}).secret_key_file == ()


def test_no_table_has_a_key_of_the_installation() -> None:
    """A copy of the database signs nothing: Idempotency-Keys, names of settings, numbers and ids are no secrets."""
    named = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if {"key", "keys", "secret", "secrets", "signing", "token"} & set(f"{table.name}_{column.name}".split("_"))
    }
    ids = {"login_codes.token_id", "sessions.token_id"}
    assert named == {"claim_requests.key", "settings.key", "webhooks.secret_version", *ids}
