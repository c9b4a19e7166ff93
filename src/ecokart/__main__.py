"""`python -m ecokart` is `ecokart`."""

from ecokart.cli import main

main(prog_name="ecokart")
