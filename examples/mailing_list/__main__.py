"""Run the mailing list for real: ``python -m examples.mailing_list --help``."""

import sys

try:
    from .driver.cli import main
except ModuleNotFoundError as missing:
    sys.exit(f"the demo needs {missing.name}: run `make demo`, or pip install '.[demo]' first")

main(prog_name="python -m examples.mailing_list")
