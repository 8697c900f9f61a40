"""Runs the command line as ``python -m keyguard.cli``."""

from keyguard.cli import main

if __name__ == "__main__":
    main()
