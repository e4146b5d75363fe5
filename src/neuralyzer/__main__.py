"""The command ``neuralyzer``."""

import os


def main() -> None:
    """Run the command line."""
    # Must be set before torch is imported: idle OpenMP threads must sleep, since spinning ones on busy cores are up to
    # 50 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    from neuralyzer.cli.app import app

    app()


if __name__ == "__main__":
    main()
