"""A search for secrets in what a service shows."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Search:
    """Collects texts by their origin, and reports the origins of those that contain a secret."""

    secrets: list[str]
    """May grow while the service runs."""
    seen: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def look(self, where: str, text: str) -> str:
        """Search a text, and return it."""
        assert text, f"{where} says nothing"
        self.seen.add(where)
        self.found += [
            f"{where}: …{text[max(text.index(secret) - 150, 0) :][:300]}" for secret in self.secrets if secret in text
        ]
        return text
