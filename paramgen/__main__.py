"""`python -m paramgen` is the command `paramgen`."""

from paramgen.cli.app import main

if __name__ == "__main__":
    main()
