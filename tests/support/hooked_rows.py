"""The rows of the table of pools, by their documented hooks."""

from __future__ import annotations

from html.parser import HTMLParser

HOOKS = ("data-pool", "data-desired", "data-eligible", "data-reason")


class HookedRows(HTMLParser):
    """Collects the elements that have a hook."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if any(name in HOOKS for name, _ in attrs):
            self.rows.append((tag, dict(attrs)))

    @property
    def pools(self) -> list[str | None]:
        return [attributes["data-pool"] for _, attributes in self.rows]
