"""`python -m genetext` is the command line."""

from genetext.cli import main

if __name__ == "__main__":
    main()
