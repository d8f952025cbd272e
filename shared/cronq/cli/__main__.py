"""`python -m cronq.cli`."""

from __future__ import annotations

from cronq.cli import main

main(prog_name="cronq")
