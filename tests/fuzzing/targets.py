"""All targets of the fuzzer."""

from .calls import CALLS
from .commands import COMMANDS
from .files import FILES
from .networks import NETWORKS

TARGETS = (*FILES, *CALLS, *COMMANDS, *NETWORKS)
