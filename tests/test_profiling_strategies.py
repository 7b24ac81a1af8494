import re

import pytest

from stageplan.profiling.strategies import Division, parse, strategy_name


@pytest.mark.parametrize(
    ("texts", "names", "recompute"),
    [
        ([], [""], ()),
        (["recompute"], [""], ("recompute",)),
        (["selective", "recompute", "selective"], [""], ("selective", "recompute")),
        (["tp=1,2,4"], ["", "tp2", "tp4"], ()),
        (("tp=8", "recompute", "tp=8,2"), ["", "tp8", "tp2"], ("recompute",)),
        (["ep=1,2", "tp=2"], ["", "ep2", "tp2"], ()),
    ],
)
def test_strategies_have_the_plain_one_first_and_each_once(texts, names, recompute):
    found = parse(texts, "train")
    assert [division.name for division in found.divisions] == names
    assert found.recompute == recompute


def test_recomputation_is_named_behind_the_degree():
    pair, alone = Division(2), Division()
    assert [strategy_name(d, again) for d in (alone, pair) for again in ("", "recompute")] == [
        "",
        "recompute",
        "tp2",
        "tp2+recompute",
    ]
    assert str(Division(4, experts=True)) == "ep=4"


@pytest.mark.parametrize(
    "text", ["tp2", "tp=", "tp=0", "tp=2,", "tp=2;4", "pp=2", "tp=-1", "tp=2000000", 2, None]
)
def test_other_texts_are_refused(text):
    words = f"strategies[0] is {text!r}; it must be 'recompute', 'selective', or degrees as in 'tp=2,4'"
    with pytest.raises(ValueError, match=re.escape(words)):
        parse([text], "train")


def test_only_training_recomputes():
    with pytest.raises(ValueError, match="'recompute'; it must be absent where mode is 'inference'"):
        parse(["recompute"], "inference")
    assert parse(["tp=2"], "inference").divisions == (Division(), Division(2))
