import pytest

import stageplan as sp
from stageplan.profiling.columns import Column, merge, note_offers, offers
from stageplan.profiling.strategies import Division

DEVICES = sp.read_devices()


def column(strategy, memory, **compute):
    return Column(strategy, [{"compute": compute, "memory": memory, "workspace": 5.0}])


def test_tables_have_an_entry_for_each_strategy_of_a_type():
    columns = [column("", 8.0, a=4.0, b=6.0), column("tp2", 4.0, a=2.5)]
    assert merge(columns) == [
        {
            "compute": {"a": 4.0, "b": 6.0, "a/tp2": 2.5},
            "memory": {"a": 8.0, "b": 8.0, "a/tp2": 4.0},
            "workspace": 5.0,
        }
    ]


def test_one_strategy_has_numbers():
    assert merge([column("", 8.0, a=4.0)]) == [{"compute": {"a": 4.0}, "memory": 8.0, "workspace": 5.0}]


def test_devices_offer_the_linked_ones_of_a_machine():
    h100, l4 = DEVICES["h100-sxm"], DEVICES["l4"]
    offered = [(offers(h100, Division(n)), offers(l4, Division(n))) for n in (1, 2, 8, 16)]
    assert offered == [(True, True), (True, False), (True, False), (False, False)]
    assert note_offers([h100, l4], [Division(), Division(8)]) == [
        "strategy tp=8 needs as many linked devices in a machine; l4 has 1"
    ]
    with pytest.raises(
        ValueError, match="tp=16 needs as many linked devices in a machine; h100-sxm has 8, l4"
    ):
        note_offers([h100, l4], [Division(16)])
