"""Numbers and paths in specifications, with what is allowed of each."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..fields import whole

Size = Annotated[int, whole(1, 2**31 - 1)]
Choices = Annotated[int, whole(2, 2**31 - 1)]
Parts = Annotated[int, whole(1, 2**20)]
Fraction = Annotated[float, Meta(gt=0, lt=1, description="a fraction between 0 and 1")]
TimeLimit = Annotated[float, Meta(gt=0, le=1e7, description="more than 0 and at most 1e7 seconds")]
LocalPath = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f]+\Z", description="a path")]
