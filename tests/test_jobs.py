"""The table of docs/compared.md is the one that benchmarks/jobs/count.py prints."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
COUNT = runpy.run_path(str(ROOT / "benchmarks" / "jobs" / "count.py"))


def test_table_is_the_one_that_is_counted():
    told = (ROOT / "docs" / "compared.md").read_text()
    assert COUNT["table"]() in told, "run benchmarks/jobs/count.py, and put its table there"


def test_blank_lines_and_comments_do_not_count(tmp_path: Path):
    (tmp_path / "job.py").write_text("import x\n\n# why\n    # deeper\nx.run()  # now\n")
    assert COUNT["lines"](tmp_path / "job.py") == 2


def test_every_file_is_a_job_of_the_table():
    found = {path.stem for path in (ROOT / "benchmarks" / "jobs").glob("*/*.*")}
    assert found - {"__pycache__"} <= set(COUNT["JOBS"])
