"""From a service and a hardware requirement to a model that runs on its target, extended and tested.

Four steps, each with a typed result that is kept in a file of the directory:

===========  ============================================  ==========================
step         what it makes                                 its result
===========  ============================================  ==========================
environment  a Python environment on the target            environment.json
basic        ``project``: data, network, training, ...     manifest-basic.json
extended     pipelined training, quantization, ...         manifest-extended.json
test         a verdict on the cases of ``cases.toml``      test-result.json and .xml
===========  ============================================  ==========================
"""

from .results import (
    Artefact,
    BasicResult,
    CaseResult,
    EnvironmentReport,
    ExtendedResult,
    Item,
    RanStage,
    StepError,
    TestResult,
)
from .spec import Spec, read_spec
from .steps import Generated, generate, run_test
from .target import TargetError

__all__ = [
    "Artefact",
    "BasicResult",
    "CaseResult",
    "EnvironmentReport",
    "ExtendedResult",
    "Generated",
    "Item",
    "RanStage",
    "Spec",
    "StepError",
    "TargetError",
    "TestResult",
    "generate",
    "read_spec",
    "run_test",
]
