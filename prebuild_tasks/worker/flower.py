"""Refuse to start Flower without a password, or on a port that is taken."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence

from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError

COMMAND = "flower"
_USAGE = InputError.exit_code


def check_command_line() -> None:
    """Check Flower's options if this process was started as `celery … flower`. Raises SystemExit.

    It is called while the app is imported, because Flower reads its options and environment before it uses the app.
    """
    if COMMAND not in sys.argv:
        return
    import click

    context = click.get_current_context(silent=True)
    if context is None or context.invoked_subcommand != COMMAND:
        return  # "flower" is another argument, such as the name of a queue
    if "--help" not in sys.argv:
        require_flower_password(sys.argv[1:], os.environ)
        require_flower_port(sys.argv[1:], os.environ)


def require_flower_password(arguments: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Exit unless Flower will ask for a password. Raises SystemExit.

    Flower can stop workers, and shows the arguments of every task. A password from the settings is put into `environ`,
    so that it is not visible on a command line.
    """
    if COMMAND not in arguments:
        return
    options = dict(_parse_option(item) for item in arguments)
    if options.get("auth") or options.get("basic_auth"):
        return
    if not environ.get("FLOWER_BASIC_AUTH"):
        environ["FLOWER_BASIC_AUTH"] = _password_from_settings()
    # An empty option takes precedence over the environment, and leaves Flower open.
    if "basic_auth" in options or not environ["FLOWER_BASIC_AUTH"]:
        sys.stderr.write("Flower would be open to everyone\n  next: set FLOWER_BASIC_AUTH=user:password\n")
        raise SystemExit(_USAGE)


def require_flower_port(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Exit with an error message if Flower's port is in use, for which it has only a traceback. Raises SystemExit."""
    if COMMAND not in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", default=environ.get("FLOWER_PORT") or "5555")
    parser.add_argument("--address", default=environ.get("FLOWER_ADDRESS", ""))
    options, _ = parser.parse_known_args(list(arguments))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.address, int(options.port)))
        except (OSError, ValueError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                sys.stderr.write(f"Flower's port {options.port} is in use\n  next: choose another with --port=N\n")
                raise SystemExit(_USAGE) from None


def _parse_option(argument: str) -> tuple[str, str]:
    """Return the name and value of an option, which Flower accepts as `--basic-auth=x` and as `-basic_auth=x`."""
    name, _, value = argument.lstrip("-").partition("=")
    return name.replace("-", "_"), value


def _password_from_settings() -> str:
    from prebuild_tasks.worker.config import sentence

    try:
        return load_settings().flower_basic_auth
    except InputError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None
