"""Generated names used to hold words that embarrass, such as those of coolname's `sloppy-leech` and `naked-booby`."""

from __future__ import annotations

import re

import pytest

from prebuild_tasks.model.name_words import ADJECTIVES, ANIMALS
from prebuild_tasks.model.names import PREBUILD_PREFIX, check_name, claimed_name
from prebuild_tasks.model.random_names import prebuild_name

_REFUSED = """
adder african american ancient ape arabian arrogant asp ass baboon bald beaver bitch black boar booby bossy brown
brutal bug bull bustard busty buzzard cheap chicken chimpanzee chinese chubby clam cobra cock cockatoo cockerel
cockroach cocky coot cougar cow crab crazy crow cruel cuckoo cur dead dirty divine dodo dog donkey drunk dumb elderly
elephant erotic evil ewe fat fertile filthy fish flea french frog german ghostly goat godly goose gorilla greedy hairy
heifer hen heretic hippo hog holy horny hound hyena impotent infant insane jackal jackass kinky lazy leech lice loon
loony louse mad maggot mite monkey mosquito mouse mule naked nasty nosy nude obese old orangutan ox oyster parasite
pig pink pious piranha plump poisonous poor potent pregnant pushy pussycat python rabid ram rat red rhino rooster rude
russian sacred satanic savage scorpion senile sexy shag shark sheep sick silly sinister skinny skunk slimy sloppy
sloth slug smelly snail snake sow spider squid stoned stupid swine tarantula termite tick tipsy tit titmice titmouse
toad turkey turkish ugly vain venomous vicious viper virgin vulture weasel whale white wild worm yellow young
"""
REFUSED = set(_REFUSED.split())


@pytest.mark.parametrize("words", [ADJECTIVES, ANIMALS])
def test_the_words_are_plain_different_and_harmless(words: tuple[str, ...]) -> None:
    assert len(set(words)) == len(words)
    assert [word for word in words if not re.fullmatch("[a-z]{3,14}", word)] == []
    assert [word for word in words if word in REFUSED] == []


def test_there_are_enough_names() -> None:
    assert len(ADJECTIVES) * len(ANIMALS) * 16**4 > 1_000_000_000
    assert len(f"{PREBUILD_PREFIX}{max(ADJECTIVES, key=len)}-{max(ANIMALS, key=len)}-ffff") <= 63


def test_a_name_is_made_of_them() -> None:
    name = check_name("workspace", prebuild_name())
    adjective, animal, number = claimed_name(name).split("-")
    assert adjective in ADJECTIVES
    assert animal in ANIMALS
    assert re.fullmatch("[0-9a-f]{4}", number)
