"""Give files that were kept before there were digests one: stamp.py [FOLDER of runs ...], once.

Without a folder it stamps what is published: records and tables in results/, and golden records.
Each file has to pass all checks of the version that wrote it first.
"""

import functools
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tools"))

import study as tools

from coursepack import files
from coursepack.lab import rows
from coursepack.runs.records import MISTAKES, load_record, load_run


def stamp_record(file: Path) -> None:
    """A record, and the mistakes beside it, if they are there: it says which they are."""
    load_record(file)
    own = file.name == "record.json"
    images = file.with_name(MISTAKES) if own else file.with_suffix(".npz")
    record = json.loads(file.read_bytes())
    if images.is_file():
        load_run(*(file.parents[1], file.parent.name) if own else (file.parent, file.stem))
        record["mistakes"] = files.keep(images, functools.partial(shutil.copyfile, images))
    text = json.dumps(record | {"digest": files.BLANK}, indent=1, allow_nan=False) + "\n"
    files.keep(file, lambda path: path.write_bytes(text.encode()))


def stamp_table(file: Path) -> None:
    """A table with all rows that its study asks for, each once, and no other."""
    study, (head, there) = tools.plan(file.stem, f"runs/{file.stem}"), rows.read_rows(file)
    rows.check_head(file, head, study.head)
    assert sorted(map(study.point, there)) == sorted(study.runs), file
    rest = file.read_bytes().split(b"\n", 1)[1]
    first = f"# {json.dumps({'digest': files.BLANK} | head)}\n".encode()
    files.keep(file, lambda path: path.write_bytes(first + rest))


def main() -> None:
    results = files.ROOT / "results"
    records = [file for folder in sys.argv[1:] for file in Path(folder).glob("*/record.json")]
    if not sys.argv[1:]:
        records = [*results.glob("*/*.json"), *(files.ROOT / "tests/golden/records").glob("*.json")]
        for table in sorted(results.glob("*.csv")):
            stamp_table(table)
    for record in sorted(records):
        stamp_record(record)


if __name__ == "__main__":
    main()
