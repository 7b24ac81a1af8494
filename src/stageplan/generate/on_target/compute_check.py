"""Checks that PyTorch imports and computes on a device, which is the argument; sent as text."""

import gc
import sys


def check(device: str) -> None:
    """Compute a product on a device; end with a sentence if it is wrong."""
    import torch

    product = torch.ones(2, 3, device=device) @ torch.ones(3, 4, device=device)
    total = float(product.sum())
    if total != 24.0:
        sys.exit(f"the sum of a product on {device} is {total}; it must be 24")


gc.disable()  # what is loaded stays, so that looking for garbage only costs time
check(sys.argv[1])
gc.freeze()  # not even at the end
