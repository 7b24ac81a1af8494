"""``python -m stageplan``: the command line."""

from .cli import main

raise SystemExit(main())
