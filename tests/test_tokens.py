"""Texts, integers and chords as data sets: sources, cuts, round trips, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from torch.utils.data import IterableDataset

import zspace
from zspace.data import Batches, account, load
from zspace.data.dataset import joined
from zspace.data.kinds import encoding_from
from zspace.data.kinds.cutting import SMILES, as_samples, cut, rejoined
from zspace.data.kinds.tokens import counted, learned, usual_share
from zspace.data.loading import load_new
from zspace.system.errors import UserError

WORDS = ["the cat sat", "a dog ran off", "the end", "no cat, no dog!", "", "sat"] * 5
MOLECULES = ["CCO", "c1ccccc1", "CC(=O)O", "C[C@@H](N)C(=O)O", "ClCBr", "[Na+].[Cl-]"] * 5
CHORDS = [[[60, 64], [60, 67], []], [[60, 64]], [[62, 65], [60, 64], [60, 64]]] * 8


def sizes(data):
    return [len(samples) for samples in data.splits.values()]


def told(data):
    return "\n".join(account.lines(data))


def raw(data):
    """All samples as they come back, in the order of the source."""
    every = {}
    for samples in data.splits.values():
        back = data.encoding.decode(samples.images())
        every |= dict(zip(map(int, samples.names()), back, strict=True))
    return [every[i] for i in sorted(every)]


def lines_in(folder: Path, texts, name="a.txt", end="\n"):
    path = folder / name
    path.write_bytes((end.join(texts) + end).encode())
    return str(path)


def everything(source, **options):
    """Data whose training samples are all of the source's: nothing is unknown."""
    whole = {"x_train": source, "x_val": source[:2], "x_test": source[:2]}
    return load(whole, quiet=True, **options)


def refused(source, **options) -> str:
    with pytest.raises(UserError) as error:
        load(source, quiet=True, **options)
    said = str(error.value)
    assert "\n" not in said
    return said


# Sources


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_line_of_a_file_is_a_sample(tmp_path, end):
    texts = [f"line {i}" for i in range(20)]
    data = load(lines_in(tmp_path, texts, end=end), quiet=True, tokens="characters")
    assert raw(data) == texts
    assert sizes(data) == [17, 1, 2]
    assert data.spec.kind == "tokens"
    x = data.train.images()
    assert x.dtype == torch.int16
    assert x.shape == (17, *data.spec.shape) == (17, 8)
    assert 0 <= int(x.max()) < data.spec.vocabulary
    assert int(x.min()) == -1


def test_empty_lines_are_left_out_where_that_is_asked(tmp_path):
    """Names of molecules stay with theirs, and a finished run reads as it was trained."""
    lines = [f"{'C' * (1 + i % 5)}O m{i}" for i in range(30)]
    (tmp_path / "a.smi").write_text("\n".join([*lines[:9], "", *lines[9:20], " ", *lines[20:]]))
    data = zspace.data.load(str(tmp_path / "a.smi"), skip_bad=True, quiet=True)
    assert data.read.notes[0] == "without 2 empty lines of a.smi"
    names = {name for samples in data.splits.values() for name in samples.names()}
    assert names == {f"m{i}" for i in range(30)}
    small = {"latent": 2, "width": 8, "epochs": 1, "out": False, "quiet": True}
    run = zspace.train("vae", data=str(tmp_path / "a.smi"), skip_bad=True, **small)
    (tmp_path / "b.smi").write_text("CO x\n\nCCO y\n")
    assert run.data(str(tmp_path / "b.smi")).test.names() == ["x", "y"]
    told = zspace.data.load(str(tmp_path / "a.smi"), quiet=True).read.notes
    assert "2 empty lines of a.smi read as samples, which --skip-bad leaves out" in told


def test_labels_of_empty_lines_are_left_out_with_them(tmp_path):
    """Whether they were given for every line, or for those that are kept."""
    lines = [f"{'C' * (1 + i % 5)}O" for i in range(30)]
    path = lines_in(tmp_path, [*lines[:9], "", *lines[9:]])
    labels = ["carbon" if len(line) % 2 else "oxygen" for line in lines]
    for given in ([*labels[:9], "empty", *labels[9:]], labels):
        (tmp_path / "y.csv").write_text("\n".join(["y", *given]))
        data = load(path, quiet=True, skip_bad=True, labels="y.csv")
        assert data.classes == ("carbon", "oxygen")
        for samples in data.splits.values():
            told = [data.classes[int(y)] for y in samples.labels()]
            texts = data.encoding.decode(samples.images())
            assert told == ["carbon" if len(text) % 2 else "oxygen" for text in texts]


def test_empty_lines_within_are_empty_sequences_and_those_at_the_end_are_none(tmp_path):
    texts = ["ab", "", "", *(["ab", "ba"] * 5)]
    data = load(lines_in(tmp_path, [*texts, "", ""]), quiet=True)
    assert raw(data) == texts
    assert "2 sequences are empty" in told(data)


def test_a_folder_with_a_file_for_each_split(tmp_path):
    for name, n in (("train", 12), ("valid", 3), ("test", 4)):
        lines_in(tmp_path, [f"{name[:2]}{i}" for i in range(n)], f"{name}.txt")
    (tmp_path / "README.md").write_text("hello")
    data = load(str(tmp_path), quiet=True)
    assert sizes(data) == [12, 3, 4]
    assert data.encoding.decode(data.train.images())[:2] == ["tr0", "tr1"]
    assert "train 12 (train.txt), validation 3 (valid.txt), test 4 (test.txt)" in told(data)
    assert "README.md" in told(data)
    assert "<other> is 67 % of validation tokens" in told(data)  # v and a


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda texts: np.array(texts, object),
        lambda texts: np.array([text.encode() for text in texts]),
        pd.Series,
        lambda texts: pd.Series(texts, dtype="string"),
        pl.Series,
        pa.array,
    ],
)
def test_texts_from_python(make):
    texts = ["grün", "blau", "rot"] * 5
    assert raw(load(make(texts), quiet=True)) == texts


def test_labels_and_splits_from_python():
    texts, y = [f"a{i}" for i in range(20)], ["x", "y"] * 10
    pair = load((texts, y), quiet=True)
    assert pair.classes == ("x", "y")
    named = {"x_train": texts, "y_train": y, "x_test": texts[:4], "y_test": y[:4]}
    data = load(named, quiet=True)
    assert sizes(data) == [18, 2, 4]
    assert data.test.labels().tolist() == [0, 1, 0, 1]
    pairs = load(((texts, y), (texts[:3], y[:3])), quiet=True)
    assert sizes(pairs) == [18, 2, 3]
    other = load(texts, val=texts[:3], quiet=True)
    assert sizes(other) == [18, 3, 2]
    other = load(CHORDS, val=[[[60], [60]], [[60], []]], quiet=True)
    assert sizes(other) == [22, 2, 2]
    with pytest.raises(UserError, match="these are lists of integers, but this model reads texts"):
        load(texts, val=[[1], [2, 3]], quiet=True)
    with pytest.raises(UserError, match="are no tokens"):
        load(texts, test=np.zeros((4, 5, 5), np.uint8), quiet=True)


def test_texts_in_an_npz(tmp_path):
    np.savez(tmp_path / "a.npz", allow_pickle=False, x=np.array(WORDS), y=np.arange(30) % 2)
    data = load(str(tmp_path / "a.npz"), quiet=True)
    assert data.spec.kind == "tokens"
    assert data.classes == ("0", "1")


@pytest.mark.parametrize("content", [MOLECULES, [[1, 2], [3]] * 8, CHORDS, [[1, 2], [3, 4]] * 8])
def test_lists_in_json(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert raw(load(str(path), quiet=True)) == content
    path.write_text(json.dumps({"train": content, "valid": content[:3], "test": content[:2]}))
    data = load(str(path), quiet=True)
    assert sizes(data) == [len(content), 3, 2]
    assert data.encoding.decode(data.validation.images()) == content[:3]
    assert "validation 3 (valid)" in told(data)


def test_ragged_lists_of_integers_and_of_chords_are_tokens():
    ragged = [[5, 6, 7], [], [-4]] * 5
    data = load(ragged, quiet=True)
    assert (data.encoding.cut, raw(data)) == ("integers", ragged)
    data = load(CHORDS, quiet=True)
    assert (data.encoding.cut, raw(data)) == ("chords", CHORDS)
    arrays = [np.array(one, np.int16) for one in ragged]
    assert raw(load(arrays, kind="tokens", quiet=True)) == ragged


def test_integers_of_one_length_are_tokens_only_where_that_is_said(tmp_path):
    x = np.arange(60).reshape(20, 3) % 4
    assert load(x, quiet=True).spec.kind == load(x.tolist(), quiet=True).spec.kind == "table"
    np.save(tmp_path / "a.npy", x, allow_pickle=False)
    for source in (x, x.tolist(), torch.from_numpy(x), str(tmp_path / "a.npy")):
        data = load(source, kind="tokens", quiet=True)
        assert raw(data) == x.tolist()
    x[:, 2] = -1
    assert raw(load(x, kind="tokens", quiet=True)) == x[:, :2].tolist()


def test_a_column_of_texts_of_a_table(tmp_path):
    frame = pd.DataFrame({"SMILES": MOLECULES, "SPLIT": ["train"] * 20 + ["test"] * 10})
    frame["y"] = np.arange(30) % 3
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (str(tmp_path / "a.csv"), str(tmp_path / "a.parquet"), frame):
        data = load(source, kind="tokens", labels="y", quiet=True)
        assert sizes(data) == [18, 2, 10]
        assert data.encoding.cut == "smiles"
        assert data.classes == ("0", "1", "2")
        assert data.encoding.decode(data.test.images()) == MOLECULES[20:]
        assert "split by column 'SPLIT'" in told(data)
    assert refused(frame, kind="tokens").startswith("the data has the columns SMILES, y, but")
    data = load(frame, kind="tokens", leave_out=["y"], quiet=True)
    assert "left out: SPLIT (it says the splits), y (as asked)" in told(data)
    frame["SPLIT"] = ["train"] * 20 + ["test_scaffolds"] * 10
    said = refused(frame, kind="tokens", labels="y")
    assert "--leave-out SPLIT" in said
    assert "'SPLIT' says no splits" in said


def test_missing_texts_of_a_table_are_empty_and_groups_stay_together(tmp_path):
    frame = pd.DataFrame({"text": ["ab", None, "b"] * 10, "who": np.repeat(range(10), 3)})
    data = load(frame, kind="tokens", group="who", quiet=True)
    assert "who (it says the groups)" in told(data)
    assert "10 sequences are empty" in told(data)
    assert sorted(sizes(data)) == [3, 3, 24]


def test_molecules_and_their_names(tmp_path):
    names = [f"m{i}" for i in range(30)]
    both = [f"{smiles}\t{name}" for smiles, name in zip(MOLECULES, names, strict=True)]
    data = load(lines_in(tmp_path, both, "a.smi"), quiet=True)
    assert data.encoding.cut == "smiles"
    assert sorted(n for s in data.splits.values() for n in s.names()) == sorted(names)
    assert "C[C@@H](N)C(=O)O" in data.encoding.decode(data.train.images())


def test_labels_of_lines_are_in_a_file_of_their_own(tmp_path):
    pd.DataFrame({"label": ["a", "b"] * 15}).to_csv(tmp_path / "y.csv", index=False)
    data = load(lines_in(tmp_path, WORDS), labels="y.csv", quiet=True)
    assert data.classes == ("a", "b")
    assert "no file" in refused(lines_in(tmp_path, WORDS), labels="y")


# Cuts and round trips


def test_how_texts_are_cut_is_found_and_said():
    for texts, options, cut_as in (
        (WORDS, {}, "words"),
        (MOLECULES, {}, "characters"),
        ({"smiles": MOLECULES}, {}, "smiles"),
        (pd.Series(MOLECULES, name="smiles"), {}, "smiles"),
        (WORDS, {"tokens": "bytes"}, "bytes"),
    ):
        data = load(texts, quiet=True, **options)
        assert data.encoding.cut == cut_as
        assert f"cut into {cut_as}" in told(data)


def odd(random: Random) -> str:
    """A text of anything: letters, blanks, line breaks, NUL, brackets, astral characters."""
    ranges = [(0, 127), (0, 127), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0x10FFFF), (65, 91)]
    return "".join(
        chr(random.randint(*random.choice(ranges))) for _ in range(random.randint(0, 30))
    )


@pytest.mark.parametrize("how", ["characters", "bytes", "smiles"])
def test_any_text_comes_back_exactly(how):
    random = Random(1)
    texts = [odd(random) for _ in range(400)] + ["", "[[[", "%1", "\\/", "[C@@H", "�"]
    data = everything(texts, tokens=how)
    assert data.encoding.decode(data.train.images()) == texts
    assert torch.equal(data.encoding.encode(texts), data.train.images())
    facts, tensors = data.encoding.to_files()
    assert encoding_from(json.loads(json.dumps(facts)), tensors) == data.encoding


def test_smiles_are_cut_as_the_molecular_transformer_cuts_them():
    """The example of its repository (pschwllr/MolecularTransformer)."""
    found = SMILES.findall("CC(C)(C)OC(=O)N1CC[C@@H](Br)%10C[NH+]=O.Cl-")
    expected = "C C ( C ) ( C ) O C ( = O ) N 1 C C [C@@H] ( Br ) %10 C [NH+] = O . Cl -"
    assert found == expected.split()
    assert SMILES.findall("CXé") == ["C", "X", "é"]


def test_words_are_joined_with_blanks_and_marks():
    for text, back in (
        ("Don't  stop, (now)!", "Don't stop, (now)!"),
        ("a <unk> of 5%", "a <unk> of 5%"),
        ("x\ty\n z", "x y z"),
    ):
        cuts = cut([text], "words")
        assert rejoined([cuts.tokens[i] for i in cuts.codes], "words") == back


def test_a_long_run_of_brackets_is_cut_in_time():
    assert len(SMILES.findall("[" * 200_000)) == 200_000


# The vocabulary


def test_tokens_are_numbered_by_their_frequency_in_training():
    data = load(
        {"x_train": ["abbcc", "cc"] * 5, "x_val": ["aa", "zz"], "x_test": ["c"]}, quiet=True
    )
    assert data.encoding.tokens == ("c", "b", "a")
    assert data.encoding.counts == (20, 10, 5)
    assert data.train.images()[:2].tolist() == [[4, 3, 3, 2, 2, 0], [2, 2, 0, -1, -1, -1]]
    assert data.validation.images().tolist()[1] == [1, 1, 0, -1, -1, -1]
    assert data.spec.vocabulary == 5
    assert "<other> is 50 % of validation tokens" in told(data)
    ties = load(["ba"] * 12, quiet=True)
    assert ties.encoding.tokens == ("a", "b")


def test_the_vocabulary_keeps_the_most_frequent_tokens():
    texts = ["aaab", "aac", "aad"] * 5
    data = load(texts, vocabulary=3, quiet=True)
    assert data.encoding.tokens == ("a",)
    lost = 100 * (1 - sum(data.encoding.counts) / sum(map(len, data_texts(data, texts))))
    assert f"<other> is {lost:.2g} % of train tokens" in told(data)
    assert data.encoding.decode(data.encoding.encode(["aaab"])) == ["aaa�"]


def data_texts(data, texts):
    return [texts[i] for i in data.train.index.tolist()]


def test_what_the_training_did_not_have_comes_back_as_what_it_is_said_to():
    for train, how, new, back in (
        (["ab"] * 12, "characters", "ax", "a�"),
        (["ab"] * 12, "bytes", "ax", "a�"),
        (["CO"] * 12, "smiles", "CBr", "C�"),
        (["a b"] * 12, "words", "a c b", "a <other> b"),
        ([[1, 2], [3]] * 6, "integers", [1, 9], [1, -1]),
        ([[[1], [2]], [[3, 4]]] * 6, "chords", [[1], [9]], [[1], []]),
    ):
        encoding = everything(train, tokens=how, kind="tokens", length=9).encoding
        encoding = learned_longer(encoding)
        x = encoding.encode([new])
        assert encoding.decode(x) == [back]
        assert encoding.decode(x.double()) == [back]
        shown = encoding.show(x[0], [0.5] * len(x[0]))
        assert shown["shape"] == "text"
        assert "<other>" in shown["tokens"]
        assert shown["confidence"] == [0.5] * len(shown["tokens"])


def learned_longer(encoding):
    facts, tensors = encoding.to_files()
    return encoding_from({**facts, "length": 9}, tensors)


def test_counts_agree_with_a_plain_count():
    random = Random(2)
    texts = [odd(random) for _ in range(300)]
    rows = np.array([random.random() < 0.5 for _ in texts])
    cuts = cut(texts, "characters")
    expected = Counter("".join(text for text, one in zip(texts, rows, strict=True) if one))
    found = dict(zip(cuts.tokens, counted(cuts, rows).tolist(), strict=True))
    assert {token: n for token, n in found.items() if n} == expected
    encoding = learned(cuts, rows, "characters", 10_000)
    assert dict(zip(encoding.tokens, encoding.counts, strict=True)) == expected
    assert list(encoding.tokens) == sorted(expected, key=lambda one: (-expected[one], one))


def test_the_usual_accuracy_is_that_of_one_token_everywhere():
    texts = ["aab", "ab", "b", ""] * 10
    data = everything(texts)
    x = data.train.images()
    best = max(
        float(data.encoding.quality(x, torch.full_like(x, token))["accuracy"].mean())
        for token in range(data.spec.vocabulary)
    )
    assert data.encoding.usual["accuracy"] == pytest.approx(best)
    cuts = cut(["aaaa", "b"], "characters")
    assert usual_share(cuts, np.ones(2, bool), "a", 3) == pytest.approx((1 + 0) / 2)


# Lengths


def test_the_longest_sample_of_all_splits_has_its_end():
    data = load({"x_train": ["ab"] * 10, "x_val": ["ab"], "x_test": ["abab" * 250]}, quiet=True)
    assert data.spec.shape == (1001,)
    assert data.test.images()[0, -2:].tolist() == [3, 0]
    assert data.train.images()[0].tolist() == [2, 3, 0] + [-1] * 998
    said = refused({"x_train": ["ab"] * 10, "x_val": ["ab"], "x_test": ["a" * 1001]})
    assert "1,001 characters" in said
    assert "--length" in said


def test_longer_samples_are_cut_and_counted():
    texts = ["abcdef", "abcd", "abc", "a", ""] * 4
    data = everything(texts, length=4)
    x = data.train.images()
    assert x[:5, -1].tolist() == [x[0, 3], x[0, 3], 0, -1, -1]
    assert data.encoding.decode(x[:5]) == ["abcd", "abcd", "abc", "a", ""]
    assert "sequences are cut after 4 tokens, without an end" in told(data)
    assert everything(texts, length=99).spec.shape == (7,)  # no longer than need be
    one = everything(texts, length=1)
    assert one.encoding.decode(one.train.images()[3:5]) == ["a", ""]


# Quality


def test_quality_counts_right_tokens_up_to_the_end():
    encoding = everything(["abc", "ab", ""] * 4).encoding
    x = encoding.encode(["abc", "ab", ""])
    y = encoding.encode(["abb", "ab", "a"])
    y[1, 3] = 2  # what follows the end does not count
    found = encoding.quality(x, y)
    assert found["accuracy"].tolist() == pytest.approx([3 / 4, 1, 0])
    assert found["exact"].tolist() == [0, 1, 0]
    assert {name: fact.better for name, fact in encoding.facts.items()} == {
        "accuracy": "high",
        "exact": "high",
    }


# Batches and other parts


def test_batches_give_the_integers_as_they_are():
    data = load((WORDS, np.arange(30) % 2), quiet=True)
    cpu = torch.device("cpu")
    batches = Batches(data.train, batch=7, device=cpu, seed=0, classes=2)
    seen = torch.cat([batch.x for batch in batches.epoch(0)])
    assert seen.dtype == torch.int16
    assert torch.equal(seen.sort(0).values, data.train.images().sort(0).values)
    both = joined([data.train, data.test])
    assert both.images().dtype == torch.int16
    assert data.fingerprint == load((WORDS, np.arange(30) % 2), quiet=True).fingerprint
    assert data.fingerprint != load((WORDS[::-1], np.arange(30) % 2), quiet=True).fingerprint
    assert "sequences" in data._repr_html_()


def test_a_class_may_be_held_out_and_come_from_elsewhere():
    y = ["x", "y", "z"] * 10
    data = load((WORDS, y), hold_out_class="z", quiet=True)
    assert sizes(data)[0] < 20
    apart = {"x_train": WORDS, "y_train": y, "x_test": ["owl"] * 4, "y_test": ["x"] * 4}
    data = load(apart, hold_out_class="z", quiet=True)  # test is joined of two storages
    assert data.test.images().dtype == torch.int16
    assert "of test tokens" in told(data)


def test_a_large_vocabulary_takes_more_bytes():
    ragged = [list(range(i * 500, i * 500 + 500)) for i in range(80)]
    data = everything([*ragged, [1]], vocabulary=50_000)
    assert data.train.images().dtype == torch.int32
    assert data.encoding.decode(data.train.images()) == [*ragged, [1]]


# New data


def test_new_data_are_cut_as_those_of_the_run(tmp_path):
    texts = ["ab", "abc", "a b"] * 5
    encoding = load(texts, tokens="bytes", quiet=True).encoding
    path = lines_in(tmp_path, ["abc", "", "b z"])
    for source in (
        path,
        ["abc", "", "b z"],
        pd.DataFrame({"t": ["abc", "", "b z"], "n": [1, 2, 3]}),
    ):
        data = load_new(source, encoding=encoding, quiet=True)
        assert sizes(data) == [3]
        back = data.encoding.decode(data.splits["all"].images())
        assert back == ["abc", "", "b �"]
    assert torch.equal(encoding.encode("ab"), encoding.encode(["ab"]))
    with pytest.raises(UserError, match="sample 1 has 4 bytes, but this model reads at most 3"):
        load_new(["a", "abcd"], encoding=encoding, quiet=True)
    with pytest.raises(UserError, match="sample 0 has 4 bytes"):
        encoding.encode("abcd")
    with pytest.raises(UserError, match="these are lists of integers, but this model reads texts"):
        encoding.encode([[1, 2], [3]])
    with pytest.raises(UserError):
        load_new(np.zeros((3, 4, 4), np.uint8), encoding=encoding, quiet=True)


def test_new_data_of_a_run_that_cuts_are_cut_and_said():
    encoding = load(["abcdef", "ab"] * 8, length=4, quiet=True).encoding
    data = load_new(["abcdef", "a"], encoding=encoding, quiet=True)
    assert data.encoding.decode(data.splits["all"].images()) == ["abcd", "a"]
    assert "1 sequence is cut after 4 tokens" in told(data)
    with pytest.raises(UserError, match="at most 3"):
        encoding.encode("abcdef")


def test_the_column_of_the_training_is_found_in_new_tables():
    frame = pd.DataFrame({"SMILES": MOLECULES, "name": [f"n{i}" for i in range(30)]})
    encoding = load(frame, kind="tokens", leave_out=["name"], quiet=True).encoding
    data = load_new(frame, encoding=encoding, quiet=True)
    assert data.encoding.decode(data.splits["all"].images()) == MOLECULES
    assert torch.equal(encoding.encode(frame), data.splits["all"].images())
    for strange in (3, None, {"x": ["a"]}, b"ab", frame[["name", "name"]], [], [None]):
        with pytest.raises(UserError):
            encoding.encode(strange)
    with pytest.raises(UserError, match="2 columns of texts"):
        load_new(frame.rename(columns={"SMILES": "s"}), encoding=encoding, quiet=True)


# What is refused


def test_hostile_files_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    for content, said in (
        (b"", "is empty"),
        (b"\n\n\n", "is empty"),
        (b"ab\ncd\x00\n" * 9, "NUL bytes near line 2"),
        (b"ab\n" * 9 + b"\xff\xfe", "not UTF-8 (line 10)"),
        ("ab\n".encode("utf-16") * 9, "is UTF-16"),
        (b"a\n" * 9 + b"b" * ((1 << 20) + 1), "line 10"),
    ):
        path.write_bytes(content)
        assert said in refused(str(path)), said
    path.write_bytes(b"ab\n" * 1000)
    assert "do not fit the memory" in refused(str(path), memory=9000)
    assert "do not fit the memory" in refused(str(path), memory=99_000)  # for its many lines
    path.write_bytes(b"ab\n" * 1000 + b"a" * 900)
    said = refused(str(path), memory=1_000_000)
    assert said.startswith("1,001 samples of 901 tokens take 0.0036 GB")
    path.write_bytes(b"ab\n" * 1000)
    np.save(tmp_path / "a.npy", np.ones((1000, 50), int), allow_pickle=False)
    npy = str(tmp_path / "a.npy")
    assert "does not fit the memory" in refused(npy, kind="tokens", memory=1_000_000)
    path.write_bytes("\ufeffab\n".encode() * 1 + b"ab\n" * 12)
    assert raw(load(str(path), quiet=True)) == ["ab"] * 13


def test_json_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.json"
    for content, said in (
        ("", "cannot be read as JSON"),
        ("[1, 2", "cannot be read as JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "holds int 3"),
        ("{}", "holds dict"),
        ('{"train": 3}', "holds 'train', which is no list"),
        ('{"cats": ["a"]}', "nothing says what that is"),
        ("[]", "has no samples"),
        ("[1, 2, 3]", "sample 0 of x of 'a.json' is or holds a int"),
        ("[[1], [2.5]]", "sample 1 of x of 'a.json' holds 2.5, which is no integer"),
        ("[[1], [true]]", "sample 1 of x of 'a.json' holds True"),
        ("[[1], [[2]]]", "sample 1 of x of 'a.json' holds [2]"),
        ("[[[1]], [2]]", "sample 1 of x of 'a.json' is or holds a int"),
        ('["a", 1]', "sample 1 of x of 'a.json' is a int"),
        ('[["a"]]', "sample 0 of x of 'a.json' holds 'a'"),
        ('[{"a": 1}]', "sample 0 of x of 'a.json' is or holds a dict"),
        ("[[99999999999999999999]]", "more than 64 bits"),
        ("[" + ",".join(["null"] * 12) + "]", "sample 0 of x of 'a.json' is or holds a NoneType"),
        (r'["a", "\ud800"]', "half of a surrogate pair"),
        (json.dumps({"train": [[1]] * 12, "test": ["a"]}), "give all samples one form"),
        ("[" + ",".join(["[]"] * 12) + "]", "all training samples are empty"),
    ):
        path.write_text(content)
        assert said in refused(str(path)), content[:40]


def test_a_kind_that_does_not_fit_is_refused(tmp_path):
    images = np.zeros((20, 5, 5), np.uint8)
    for source, said in (
        ("mnist5k", "holds images"),
        (images, "are no tokens"),
        (np.random.rand(20, 3), "are no tokens"),
        ([0.5, 1.5] * 9, "sample 0"),
        (pd.DataFrame({"a": np.arange(20.0)}), "has no column of texts"),
    ):
        assert said in refused(source, kind="tokens"), said
    assert "--kind is image" in refused(WORDS, kind="image")
    assert "--kind is table" in refused(WORDS, kind="table")
    assert "--size" in refused(WORDS, size=32)
    assert "--window" in refused(WORDS, window=3)
    assert "--vocabulary" in refused(images, vocabulary=9)
    assert "--tokens chords is for lists of chords" in refused(WORDS, tokens="chords")
    assert "--tokens words is for texts" in refused(CHORDS, tokens="words")
    assert "vocabulary is 2" in refused(WORDS, vocabulary=2)
    assert "length is -3" in refused(WORDS, length=-3)
    path = lines_in(tmp_path, WORDS)
    assert "--group names a column" in refused(path, group="who")
    assert "--split-by names a column" in refused(path, split_by="when")
    assert "--weight names a column" in refused(path, weight="w")
    assert "at least 10" in refused(["ab"] * 5)
    lines_in(tmp_path, WORDS, "train.txt")
    lines_in(tmp_path, WORDS, "training.txt")
    assert "two files of its train split" in refused(str(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        {"cut": "syllables"},
        {"tokens": ["a", "a"]},
        {"tokens": ["a", 3]},
        {"tokens": ["ab", "c"]},
        {"tokens": "ab"},
        {"tokens": None},
        {"tokens": ["a", "\ud800"]},
        {"counts": [3]},
        {"counts": [1, 2]},
        {"counts": [2, 0]},
        {"counts": [2.0, 1.0]},
        {"length": 0},
        {"length": 1 << 40},
        {"length": True},
        {"often": 2},
        {"often": float("nan")},
        {"shortened": "no"},
        {"column": 3},
    ],
)
def test_a_damaged_encoding_is_refused(damage):
    facts = everything(["aab", "ab"] * 6).encoding.to_files()[0]
    assert encoding_from(facts, {}).tokens == ("a", "b")
    with pytest.raises(UserError, match="train again"):
        encoding_from({**facts, **damage}, {})


def test_a_huge_vocabulary_of_a_file_is_refused():
    facts = {"cut": "integers", "tokens": range(1 << 40), "counts": [], "length": 3}
    with pytest.raises(UserError, match="train again"):
        encoding_from({"kind": "tokens", "often": None, **facts}, {})


def test_samples_of_all_lists_may_be_of_numpy():
    assert as_samples([np.array([1, 2], np.uint8), [np.int64(3)]], "x")[0] == [[1, 2], [3]]


class Lines(IterableDataset):
    """A stream of texts with their labels, one of which may have another form."""

    def __init__(self, wrong: object = None) -> None:
        self.wrong = wrong

    def __iter__(self):
        yield from ((text, i % 2) for i, text in enumerate(WORDS))
        if self.wrong is not None:
            yield self.wrong


def test_torchs_data_sets_of_texts_are_read_in_order():
    data = load(Lines())
    assert data.spec.kind == "tokens"
    assert data.classes == ("0", "1")
    listed = load((WORDS, [i % 2 for i in range(len(WORDS))]))
    assert raw(data) == raw(listed)
    for wrong in (np.zeros(3), "alone"):
        with pytest.raises(UserError, match=r"sample 30 of the data set is .* unlike sample 0"):
            load(Lines(wrong))
