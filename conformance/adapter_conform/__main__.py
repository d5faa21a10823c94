"""``python -m adapter_conform`` is ``adapter-conform``."""

from adapter_conform.cli import main

if __name__ == "__main__":
    main()
