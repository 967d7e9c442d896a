"""`python -m benchmarks short`, `peers` or `growth`."""

from __future__ import annotations

import argparse


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("what", choices=["short", "peers", "growth"])
    parser.add_argument(
        "--quick", action="store_true", help="growth: few and small points"
    )
    parser.add_argument(
        "--minutes", type=float, help="growth: how long the constant load lasts"
    )
    arguments = parser.parse_args()
    if arguments.what == "short":
        from benchmarks import short

        short.main()
    elif arguments.what == "peers":
        from benchmarks import peers

        peers.main()
    else:
        from benchmarks import growth

        growth.main(quick=arguments.quick, minutes=arguments.minutes)


if __name__ == "__main__":
    main()
