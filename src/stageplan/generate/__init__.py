"""Generate a model from a service and a hardware requirement, extend it, and test it on its target.

Four steps, each with a typed result in a file of the directory:

===========  ============================================  ==========================
step         makes                                         result
===========  ============================================  ==========================
environment  a Python environment on the target            environment.json
basic        ``project``: data, network, training, ...     manifest-basic.json
extended     pipelined training, quantization, ...         manifest-extended.json
test         the outcomes of the cases in ``cases.toml``   test-result.json and .xml
===========  ============================================  ==========================
"""

from .adoption import AdoptedRun, adopt
from .clean import Cleaned, Leftover, clean
from .results import (
    Artefact,
    BasicResult,
    CaseResult,
    EnvironmentReport,
    ExtendedResult,
    Host,
    Item,
    Number,
    RanStage,
    StepError,
    TestResult,
)
from .spec import Spec, read_spec
from .steps import Generated, generate, run_test
from .target import TargetError
from .variant_table import Requirement, VariantResult

__all__ = [
    "AdoptedRun",
    "Artefact",
    "BasicResult",
    "CaseResult",
    "Cleaned",
    "EnvironmentReport",
    "ExtendedResult",
    "Generated",
    "Host",
    "Item",
    "Leftover",
    "Number",
    "RanStage",
    "Requirement",
    "Spec",
    "StepError",
    "TargetError",
    "TestResult",
    "VariantResult",
    "adopt",
    "clean",
    "generate",
    "read_spec",
    "run_test",
]
