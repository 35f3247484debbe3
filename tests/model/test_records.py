"""The fields of records: read, combined and compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from prebuild_tasks.model.records import changed_fields, combined, part_of


@dataclass(frozen=True, slots=True)
class Inner:
    lines: tuple[str, ...] = ()

    def __or__(self, other: Inner) -> Inner:
        return combined(self, other)


@dataclass(frozen=True, slots=True)
class Outer:
    number: int = 0
    inner: Inner = field(default_factory=Inner)


def test_numbers_are_added_and_tuples_joined_in_their_order() -> None:
    assert combined(Outer(1, Inner(("a",))), Outer(2, Inner(("b",)))) == Outer(3, Inner(("a", "b")))
    assert combined(Outer(4), Outer()) == Outer(4)


def test_a_part_has_the_fields_that_both_kinds_have() -> None:
    @dataclass(frozen=True, slots=True)
    class Part:
        number: int = 0

    assert part_of(Outer(1, Inner(("a",))), Part) == Part(1)


def test_only_what_differs_from_the_defaults_is_changed() -> None:
    assert changed_fields(Outer()) == {}
    assert changed_fields(Outer(inner=Inner(("a",)))) == {"inner": {"lines": ("a",)}}
