"""exo's layers by node and shards by rank."""

import json

from writers import language_model, plan_of

import stageplan as sp


def test_layers_of_nodes_and_their_shards():
    exported = sp.export(plan_of(language_model(6), [0] * 3 + [1] * 6), "exo")
    document = json.loads(exported.text)
    assert document == exported.value
    assert document["sharding"] == "Pipeline"
    assert document["node_layers"] == {"NODE0": 2, "NODE1": 4}
    common = {"world_size": 2, "n_layers": 6}
    assert document["shards"] == [
        {"device_rank": 0, "start_layer": 0, "end_layer": 2} | common,
        {"device_rank": 1, "start_layer": 2, "end_layer": 6} | common,
    ]
    assert exported.note.startswith("write the ids of your nodes: NODE0 of type a, NODE1 of type b; exo runs")


def test_each_replica_is_an_instance():
    exported = sp.export(plan_of(language_model(6), [0] * 6 + [1] * 3, counts=(2, 2)), "exo")
    assert "; start it 2 times, each on the ranks of one replica; " in exported.note
    assert len(exported.ranks) == 4
    assert exported.comparison.default_layers is None
