"""Refuse to start Flower without a password, or on a port that is taken, and tell it what it reads nowhere itself."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Never

from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import is_ipv6
from prebuild_tasks.model.redis_url import parse_redis_url
from prebuild_tasks.model.terminal import escaped

if TYPE_CHECKING:
    from tornado.options import OptionParser

    from prebuild_tasks.config import Settings

COMMAND = "flower"
_USAGE = InputError.exit_code
_PREFIX = "FLOWER_"
"""Prefix of the environment variables that Flower reads."""
_COLUMNS_OPTION = "tasks_columns"
TASKS_COLUMNS = "name,args,state,result,received,runtime,worker,uuid"
"""The columns of Flower's list of tasks. Its own ones lack arguments and results."""
_CONFIGURATION_FILE = "flowerconfig.py"
"""The file that Flower reads, if it exists, without the option --conf."""


def is_starting() -> bool:
    """Return whether this process was started as `celery … flower`."""
    if COMMAND not in sys.argv:
        return False
    import click

    context = click.get_current_context(silent=True)
    # "flower" may be another argument, such as the name of a queue.
    return context is not None and context.find_root().invoked_subcommand == COMMAND


def check_command_line() -> None:
    """Check Flower's options if this process was started as `celery … flower`. Raises SystemExit.

    It is called while the app is imported, because Flower reads its options and environment before it uses the app.
    """
    if is_starting():
        require_flower_password(sys.argv[1:], os.environ)
        require_flower_port(sys.argv[1:], os.environ)
        show_pools_and_results(os.environ)


def configuration(settings: Settings) -> dict[str, object]:
    """Return what Flower needs in Celery's configuration besides that of all processes.

    Its page with the queues connects by itself, and ignores the options of TLS in the broker's URL, from which Celery
    takes them.
    """
    tls = parse_redis_url(settings.resolved_redis_url).tls_arguments
    return {"broker_use_ssl": tls} if tls else {}


def show_pools_and_results(environ: MutableMapping[str, str]) -> None:
    """Have Flower's list of tasks show arguments and results, unless the environment names other columns.

    They are the pool or the build of a task, and what was done. An option or a configuration file goes before it.
    """
    if not any(_option_of(variable) == _COLUMNS_OPTION for variable in environ if variable.startswith(_PREFIX)):
        environ[f"{_PREFIX}{_COLUMNS_OPTION.upper()}"] = TASKS_COLUMNS


def require_flower_password(arguments: Sequence[str], environ: MutableMapping[str, str]) -> None:
    """Exit unless Flower will ask for a password. Raises SystemExit.

    Flower can stop workers, and shows the arguments of every task. A password from the settings is put into `environ`,
    so that it is not visible on a command line.
    """
    own = _flower_arguments(arguments)
    if own is None:
        return
    if not _asks_for_password(_options(own, environ)):
        if not environ.get("FLOWER_BASIC_AUTH"):
            environ["FLOWER_BASIC_AUTH"] = _password_from_settings()
        # An empty option, or one in the configuration file, takes precedence over the environment.
        if not _asks_for_password(_options(own, environ)):
            _exit("Flower has no password", "set FLOWER_BASIC_AUTH=user:password")


def require_flower_port(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Exit with an error message if Flower's port is in use, for which it has only a traceback. Raises SystemExit."""
    own = _flower_arguments(arguments)
    if own is None:
        return
    options = _options(own, environ)
    if options.unix_socket:
        return
    with socket.socket(socket.AF_INET6 if is_ipv6(options.address) else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.address, options.port))
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                _exit(f"Flower's port {options.port} is in use", "choose another with --port=N")


def _flower_arguments(arguments: Sequence[str]) -> list[str] | None:
    """Return the options after the command `flower`; None for another command, and if they ask for help.

    Raises SystemExit for anything but an option, because Flower ignores the options that follow it.
    """
    import click
    from celery.bin.celery import celery

    _, rest, _ = celery.make_parser(click.Context(celery)).parse_args(list(arguments))
    if rest[:1] != [COMMAND]:
        return None
    own = rest[1:]
    for argument in own:
        if argument == "--help":
            return None
        if argument in {"-", "--"} or not argument.startswith("-"):
            _exit(f"Flower takes only options, not {argument!r}", "write each as --name=value")
    return own


def _options(arguments: Sequence[str], environ: Mapping[str, str]) -> OptionParser:
    """Read the options that matter here as Flower does: environment, command line, file, command line again."""
    from tornado.options import Error, OptionParser

    options = OptionParser()
    options.define("conf", default=_CONFIGURATION_FILE)
    options.define("auth", default="")
    options.define("basic_auth", type=str, multiple=True)
    options.define("address", default="")
    options.define("port", default=5555)
    options.define("unix_socket", default="")
    known = {name for name in options if name != "help"}
    # As Flower reads them, in upper or lower case: of FLOWER_CONF and FLOWER_conf, the later in the environment wins.
    variables = [variable for variable in environ if variable.startswith(_PREFIX) and _option_of(variable) in known]
    from_environment = [f"--{_option_of(variable)}={environ[variable]}" for variable in variables]
    own = [argument for argument in arguments if _name(argument) in known]
    try:
        options.parse_command_line([COMMAND, *from_environment, *own], final=False)
    except (Error, ValueError) as error:
        _exit(f"Flower cannot read its options: {error}", "write each as --name=value")
    file = Path(options.conf).absolute()
    if options.conf == _CONFIGURATION_FILE and not file.exists():
        return options
    try:
        options.parse_config_file(str(file), final=False)
    except Exception as error:  # noqa: BLE001 - the file is a program, which can raise anything
        _exit(f"Flower cannot read its configuration file {options.conf}: {error}", "correct it, or name another")
    options.parse_command_line([COMMAND, *own], final=False)
    return options


def _option_of(variable: str) -> str:
    """Return the name of the option that an environment variable sets."""
    return variable.removeprefix(_PREFIX).lower()


def _name(argument: str) -> str:
    """Return the name of an option, which Flower accepts as `--basic-auth=x` and as `-basic_auth=x`."""
    return argument.lstrip("-").partition("=")[0].replace("-", "_")


def _asks_for_password(options: OptionParser) -> bool:
    return bool(options.auth) or any(options.basic_auth)


def _exit(problem: str, step: str) -> Never:
    sys.stderr.write(escaped(f"{problem}\n  next: {step}\n"))
    raise SystemExit(_USAGE)


def _password_from_settings() -> str:
    from prebuild_tasks.worker.config import sentence

    try:
        return load_settings().flower_basic_auth
    except InputError as error:
        sys.stderr.write(sentence(error))
        raise SystemExit(error.exit_code) from None
