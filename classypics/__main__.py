"`python -m classypics`, where the program `classypics` is on no path."

from .cli import main

if __name__ == "__main__":
    main()
