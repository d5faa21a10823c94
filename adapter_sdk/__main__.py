"""``python -m adapter_sdk`` is the command ``adapter-sdk``."""

from adapter_sdk.cli import main

raise SystemExit(main())
