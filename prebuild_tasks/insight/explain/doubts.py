"""Explain what speaks against a pool's prebuilds, and what could not be asked about them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from prebuild_tasks.insight.explain.facts import Facts
from prebuild_tasks.insight.explain.links import About, Link
from prebuild_tasks.model.text import instant, number


def doubted_prebuilds(facts: Facts) -> Iterator[Link]:
    """Yield a sentence for each kind of doubt."""
    doubted = facts.doubted
    if doubted.unanswered:
        who, since = number(doubted.unanswered, "prebuild"), instant(doubted.unanswered_since or facts.now, facts.now)
        sentence = f"{who} could not be probed since {since}, so nothing is done, and claims take others first"
        yield Link(About.HEALTH, f"{sentence}: {' '.join(doubted.message.split())}")
    if doubted.unread_since:
        since = instant(doubted.unread_since, facts.now)
        sentence = f"a list of its provisioner could not be read since {since}, so nothing is concluded from it"
        yield Link(About.HEALTH, f"{sentence}: {' '.join(doubted.unread.split())}")
    if doubted.missing:
        who = number(doubted.missing, "prebuild")
        rest = "each is replaced when its own probe has found it gone for long enough"
        if doubted.waiting:
            wait = "waits" if doubted.waiting == 1 else "wait"
            rest = f"no probe can tell, and {doubted.waiting} {wait} for a confirmation"
        yield Link(About.HEALTH, f"{who} missing from its provisioner's list: {rest}")
    if doubted.gone:
        who, them = number(doubted.gone, "prebuild"), "it is" if doubted.gone == 1 else "they are"
        sentence = f"{who} found gone by a probe: claims take others first, and it is replaced if {them} still gone"
        yield Link(About.HEALTH, f"{sentence} after an interval of probes")
    if doubted.lost:
        who = number(doubted.lost, "lost prebuild")
        yield Link(About.HEALTH, f"{who} to be replaced, at most a third of the pool at a time")
