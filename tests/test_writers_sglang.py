"""SGLang's partitions."""

import pytest
from writers import language_model, plan_of

import stageplan as sp


def test_partitions_mean_the_plan():
    plan = plan_of(language_model(10), [0] * 4 + [1] * 2 + [0] * 7)
    exported = sp.export(plan, "sglang")
    assert exported.value == "3,2,5"
    assert exported.text.startswith("export SGLANG_PP_LAYER_PARTITION=3,2,5\n")
    assert "--pp-size 3\n" in exported.text


@pytest.mark.parametrize(("blocks", "counts"), [(9, (3, 3, 3)), (10, (3, 3, 4)), (11, (3, 4, 4))])
def test_the_default_has_the_rest_on_the_last_stages(blocks, counts):
    plan = plan_of(language_model(blocks), [0] * 4 + [1] * 2 + [0] * (blocks - 3))
    assert sp.export(plan, "sglang").comparison.default_layers == (counts[0] + 1, counts[1], counts[2] + 2)
