"""The command ``neuralyzer``."""

import os


def main() -> None:
    """Run the command line."""
    # Read when torch is imported: idle OpenMP threads must sleep, not spin, or busy cores slow them up to 50 times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from neuralyzer.cli.app import app

    app()


if __name__ == "__main__":
    main()
