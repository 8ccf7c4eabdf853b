"""`python -m codling`."""

from codling.cli import main

main()
