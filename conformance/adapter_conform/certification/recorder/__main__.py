"""``python -m adapter_conform.certification.recorder``"""

from adapter_conform.certification.recorder.cli import main

main()
