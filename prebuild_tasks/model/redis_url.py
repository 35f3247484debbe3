"""A Redis URL, read once, and spelled for each library that connects.

redis-py, kombu and Celery's result backend read the same URL differently: the number of the database, whether a
certificate is verified, and options that only some of them know.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "redis+socket": "unix"}
_DATABASE = ("db", "virtual_host")
"""Options with the number of the database, in the spelling of redis-py and of Celery."""
_VERIFY = {
    "required": "required", "cert_required": "required", "optional": "required", "cert_optional": "required",
    "none": "none", "cert_none": "none",
}  # fmt: skip
"""Values of `ssl_cert_reqs`. For a client, an optional certificate is a required one."""
_TEXTS = ("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_ciphers")
"""Options of TLS that every library takes as they are."""
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")
_KNOWN = ("db", "ssl_cert_reqs", "ssl_check_hostname", *_TEXTS)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a Redis URL."""

    scheme: str
    """`redis`, `rediss` (over TLS) or `unix`."""
    netloc: str
    """User, password, host and port, as they were given."""
    path: str
    """The socket's path, or the part of another URL's path that was given."""
    database: int
    tls: tuple[tuple[str, str], ...] = ()
    """Options of TLS with redis-py's names. `ssl_cert_reqs` is always among them if the URL is `rediss`."""

    @property
    def for_redis_py(self) -> str:
        """The URL that `redis.Redis.from_url` understands."""
        return self._spelled("unix", "db")

    @property
    def for_celery(self) -> str:
        """The URL that kombu and Celery's result backend understand."""
        return self._spelled("redis+socket", "virtual_host")

    @property
    def tls_arguments(self) -> dict[str, str | bool]:
        """The options of TLS as arguments of `redis.Redis`, which reads words for true and false only in a URL."""
        return {name: value == "true" if name == "ssl_check_hostname" else value for name, value in self.tls}

    def _spelled(self, unix: str, option: str) -> str:
        if self.scheme == "unix":
            query = f"?{option}={self.database}" if self.database else ""
            return f"{unix}://{self.netloc}{self.path}{query}"
        path = f"/{self.database}" if self.database else self.path
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in self.tls)
        return f"{self.scheme}://{self.netloc}{path or ('/0' if query else '')}{'?' if query else ''}{query}"


def parse_redis_url(url: str) -> RedisUrl:
    """Read a Redis URL. Raises ValueError with a clause that follows the URL, such as "has no valid port".

    Certificates are verified unless the URL says `ssl_cert_reqs=none`.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _SCHEMES and (parts.port or 1) > 0 and not parts.fragment
        # The end of a password with a / or ? that is not %XX, which no message may repeat.
        usable &= "@" not in parts.query and (parts.scheme not in ("redis", "rediss") or "@" not in parts.path)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            "is not a valid Redis URL; write redis://:PASSWORD@host:6379/0 or unix://:PASSWORD@/path, with special "
            "characters of the password as %XX"
        )
    scheme = _SCHEMES[parts.scheme]
    options = _options(parts.query)
    numbers = [options.pop(name).strip("/") for name in _DATABASE if name in options]
    if scheme != "unix" and parts.path.strip("/"):
        numbers.append(parts.path.strip("/"))
    return RedisUrl(
        scheme,
        parts.netloc,
        parts.path if scheme == "unix" or not numbers else parts.path.rstrip("/"),
        _database(numbers),
        _tls(scheme, options),
    )


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise ValueError(f"has the option {name} twice; leave one out")
        options[name] = value
    return options


def _database(numbers: list[str]) -> int:
    for number in numbers:
        if not (number.isascii() and number.isdecimal()):
            raise ValueError(f"has {number!r} where the number of the database belongs; write redis://host:6379/0")
    if len({int(number) for number in numbers}) > 1:
        raise ValueError("names two different databases; write the number once, as in redis://host:6379/0")
    return int(numbers[0]) if numbers else 0


def _tls(scheme: str, options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    if unknown := [name for name in options if name not in _KNOWN]:
        hint = "; TLS is switched on by rediss://" if "ssl" in unknown else ""
        raise ValueError(f"has the unknown option {', '.join(unknown)}; known are {', '.join(_KNOWN)}{hint}")
    if scheme != "rediss":
        if options:
            raise ValueError(f"has {', '.join(options)} without TLS; write rediss://host:6380/0 for TLS")
        return ()
    asked = options.pop("ssl_cert_reqs", "required")
    verify = _VERIFY.get(asked.lower())
    if verify is None:
        raise ValueError(f"has ssl_cert_reqs={asked}; write required, the default, or none to verify nothing")
    chosen = {"ssl_cert_reqs": verify, **{name: options[name] for name in _TEXTS if options.get(name)}}
    if "ssl_check_hostname" in options:
        asked = options["ssl_check_hostname"].lower()
        if asked not in (*_TRUE, *_FALSE):
            raise ValueError(f"has ssl_check_hostname={asked}; write true, the default, or false")
        chosen["ssl_check_hostname"] = str(asked in _TRUE).lower()
    return tuple(chosen.items())
