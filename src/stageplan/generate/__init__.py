"""From a service and a hardware requirement to a model that runs on its target, extended and tested.

Four steps, each with a typed result that is kept in a file of the directory:

========== ========================================== ======================
step       what it makes                              result
========== ========================================== ======================
environment  a Python environment on the target       environment.json
basic        ``project``: data, network, training, .. manifest-basic.json
extended     pipelined training, quantization, ..     manifest-extended.json
test         runs the cases of ``cases.toml``         test-result.json, .xml
========== ========================================== ======================
"""
