"""python -m topwork."""

from topwork.cli import main

main()
