"""How many SMILES are molecules, how many of these differ, and how many are not in a list.

    python benchmarks/peers/chemistry.py MADE.txt TRAIN.txt

valid: the share that RDKit reads; unique: of the valid ones, the share that differ as canonical
SMILES; novel: of those, the share that is not among the training molecules. Prints JSON.

Reference: Polykovskiy et al. Molecular sets (MOSES): a benchmarking platform for molecular
generation models. 2018, arXiv 1811.12823.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rdkit import Chem, RDLogger


def canonical(text: str) -> str | None:
    """The canonical SMILES; None for what is no molecule."""
    molecule = Chem.MolFromSmiles(text) if text else None
    return None if molecule is None else Chem.MolToSmiles(molecule)


def main() -> None:
    RDLogger.DisableLog("rdApp.*")
    made, train = (Path(one).read_text().splitlines() for one in sys.argv[1:3])
    valid = [one for text in made if (one := canonical(text)) is not None]
    different = set(valid)
    known = set(train) | {canonical(text) for text in train if text in different}
    novel = different - known
    print(
        json.dumps(
            {
                "valid": len(valid) / max(1, len(made)),
                "unique": len(different) / max(1, len(valid)),
                "novel": len(novel) / max(1, len(different)),
            }
        )
    )


if __name__ == "__main__":
    main()
