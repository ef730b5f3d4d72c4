"""What stacks in bf16 cost in quality beside fits alone in fp32, on a device of whatever speed.

    python benchmarks/precision.py FOLDER                with the crops that benchmarks/images.py wrote
    python benchmarks/precision.py FOLDER --side 128 --device cpu --width 4

The part of benchmarks/gpu.py that compares precisions, for each way in which the networks of a stack work
together, and for stacks in fp32 beside those in bf16: what these differ by is rounding alone, which a fit
amplifies, and no more than that can be told. A processor that does not multiply bf16 emulates it, one product
at a time. Prints a table last and writes a JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import gpu


def main() -> None:
    """Parse, run, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, metavar="FOLDER")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one fit")
    parser.add_argument("--side", type=int, default=gpu.WHOLE.crop, help="of the images")
    parser.add_argument(
        "--width", type=int, default=16, help="fits in a stack, at most one a picture"
    )
    parser.add_argument("--iterations", type=int, default=gpu.WHOLE.iterations)
    parser.add_argument("--output", type=Path, help="JSON to write, default results/precision.json")
    options = parser.parse_args()
    if not any(options.images.glob("*.npz")):
        parser.error(f"{options.images} has no .npz; benchmarks/images.py writes them")
    path = options.output or Path(__file__).parent / "results" / "precision.json"
    scale = replace(gpu.WHOLE, crop=options.side, iterations=options.iterations)
    began, document = time.monotonic(), {"conditions": gpu.conditions(options)}
    lines = []
    for precision in ("fp32", "bf16"):
        rows = gpu.precisions(options, scale, options.width, precision)
        document[precision] = {"rows": rows, "mean_gaps_db": gpu.mean_gaps(rows)}
        document["seconds"] = time.monotonic() - began
        path.write_text(json.dumps(document, indent=1) + "\n")
        label = f"{rows[0]['precision']}, {rows[0]['width']} together"
        lines += [f"{label} {way:9s} {gap:+.3f} dB" for way, gap in gpu.mean_gaps(rows).items()]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
