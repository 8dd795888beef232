"""Makes model_aggregation/model_counts.csv: parameters and multiply-adds of every network of the installed libraries.

    python benchmarks/count_models.py [--out FILE]

A network is counted at every image size that its published weights were made for, and at the architecture's own.
Continues where it was stopped; rows of other library versions are dropped.
"""

import argparse
from pathlib import Path

import model_aggregation
from model_aggregation.errors import ModelError
from model_aggregation.files import write_text
from model_aggregation.models.counting import count, count_key, counts_text, read_counts
from model_aggregation.models.libraries import input_facts
from model_aggregation.models.zoo import SOURCES, ModelName, known_architectures, weight_tags

FILE = Path(model_aggregation.__file__).parent / "model_counts.csv"


def wanted() -> list[tuple[ModelName, int]]:
    """Return every architecture with every image size that belongs to it."""
    pairs = []
    for source in SOURCES:
        for architecture in known_architectures(source):
            tags = ["", *weight_tags(ModelName(source, architecture))]
            sizes = {input_facts(ModelName(source, architecture, tag)).size for tag in tags}
            pairs += [(ModelName(source, architecture), size) for size in sorted(sizes)]
    return pairs


def main() -> None:
    """Count what is missing and write the table after every twenty networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE)
    out = parser.parse_args().out
    before = read_counts(out.read_text(encoding="utf-8")) if out.is_file() else []
    pairs = wanted()
    keys = {count_key(*pair) for pair in pairs}
    known = {entry.key: entry for entry in before if entry.key in keys}
    failures = []
    for number, (model, size) in enumerate(pairs, 1):
        if count_key(model, size) in known:
            continue
        try:
            entry = count(model, size)
        except ModelError as error:
            failures.append(error.message)
            print(error.message, flush=True)
            continue
        known[entry.key] = entry
        if number % 20 == 0:
            write_text(out, counts_text(list(known.values())))
            print(f"{number} of {len(pairs)}", flush=True)
    write_text(out, counts_text(list(known.values())))
    print(f"{len(known)} of {len(pairs)} counted; failed: {len(failures)}")


if __name__ == "__main__":
    main()
