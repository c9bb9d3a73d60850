"""``python -m genrescope`` is the command line."""

from genrescope.cli import run

if __name__ == "__main__":
    run()
