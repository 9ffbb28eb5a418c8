"""``python -m enface``, so that ``torchrun -m enface run ...`` works."""

from enface.cli import main

if __name__ == "__main__":
    main()
