"""The update of a policy written in torch, as well as we know how, on one thread: the rival of ours."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import stageplan as sp  # noqa: F401  (the package's own network is built from its parts elsewhere)
