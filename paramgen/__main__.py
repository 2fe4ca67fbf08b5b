"""`python -m paramgen` is the command `paramgen`."""

from paramgen.cli import main

if __name__ == "__main__":
    main()
