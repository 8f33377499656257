"What `classypics.data` reads, refuses, holds out and reports, on pictures made here."
import csv
import dataclasses
import os
import struct
import sys
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classypics import data as module
from classypics.core import InputError, generator
from classypics.data import Batches, PictureSet, analyse, at_once, fit_picture, hold_out, is_here, known_name
from classypics.data import load_data, near_copies, parse_size, safe_name


def picture(k: int, size=(12, 10), mode="RGB") -> Image.Image:
    "A picture (width, height) of six by six coloured patches, like no other `k`."
    patches = np.random.default_rng(k).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).convert(mode)


def folder(root: Path, counts: dict, *, size=(12, 10), mode="RGB", seed=0) -> Path:
    for name, n in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(n):
            picture(seed + zlib.crc32(f"{name} {i}".encode()), size, mode).save(root / name / f"{i}.png")
    return root


def zipped(root: Path, archive: Path, *, above="") -> Path:
    with zipfile.ZipFile(archive, "w") as z:
        for p in sorted(root.rglob("*")):
            if p.is_file():
                z.write(p, above + str(p.relative_to(root)))
    return archive


def bomb(path: Path):
    "A PNG of a few hundred bytes that says it is 60,000 pixels wide and high."

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


# ---------------------------------------------------------------- sources


def test_folder_of_classes(tmp_path):
    data = load_data(f"folder:{folder(tmp_path / 'pets', {'cat 10': 20, 'cat 9': 10, 'dog': 5})}")
    assert data.name == "pets" and data.train.classes == ("cat 9", "cat 10", "dog")  # 9 before 10
    assert data.train.size == (10, 12) and data.train.channels == 3 and not data.skipped
    assert data.test.labels[:, 0].bincount().tolist() == [1, 2, 1]  # a tenth, at least one
    assert data.train.pictures().dtype == torch.uint8 and data.train.pictures().shape == (31, 3, 10, 12)
    assert data.summary == "35 pictures, 3 classes (5 to 20 each), 10x12 colour"
    i = data.train.names.index("dog/" + next(n for n in data.train.names if n.startswith("dog"))[4:])
    stored = np.asarray(Image.open(tmp_path / "pets" / data.train.names[i]))
    assert np.array_equal(data.train.pictures([i])[0].permute(1, 2, 0).numpy(), stored)  # pixels untouched
    assert data.train.classes[data.train.labels[i, 0]] == "dog"


def test_train_and_test_folders_and_val(tmp_path):
    folder(tmp_path / "train", {"a": 3, "b": 4})
    folder(tmp_path / "val", {"a": 1, "b": 1})
    only_val = load_data(str(tmp_path))  # an existing folder needs no prefix; without test/, val/ is held out
    assert (len(only_val.train), len(only_val.test)) == (7, 2)
    folder(tmp_path / "Test", {"a": 2, "b": 2})
    both = load_data(f"folder:{tmp_path}")
    assert (len(both.train), len(both.test)) == (9, 4)
    assert all(n.startswith("Test/") for n in both.test.names)
    folder(tmp_path / "extra", {"a": 1, "b": 1})
    with pytest.raises(InputError, match="beside them extra"):
        load_data(f"folder:{tmp_path}")


@pytest.mark.parametrize("above", ["", "pets/", "a/b/"])
def test_zip_is_the_folder_and_writes_nothing(tmp_path, above):
    root = folder(tmp_path / "pets", {"cat": 6, "dog": 6})
    archive = zipped(root, tmp_path / "pets.zip", above=above)
    before = sorted(tmp_path.rglob("*"))
    a, b = load_data(f"folder:{root}"), load_data(f"folder:{archive}")
    assert torch.equal(a.train.pictures(), b.train.pictures()) and a.train.classes == b.train.classes
    assert a.train.fingerprint == b.train.fingerprint  # the same pictures and labels, wherever they lie
    assert sorted(tmp_path.rglob("*")) == before


def test_paths_in_a_zip_are_not_trusted(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = zipped(folder(tmp_path / "pets", {"cat": 3, "dog": 3}), inside / "pets.zip")
    with zipfile.ZipFile(archive, "a") as z:
        z.writestr("../../evil.png", (tmp_path / "pets/cat/0.png").read_bytes())
        z.writestr("/cat/evil.png", (tmp_path / "pets/cat/0.png").read_bytes())
        z.writestr("__MACOSX/cat/._0.png", b"resource fork")
    before = sorted(tmp_path.rglob("*"))
    data = load_data(f"folder:{archive}")
    assert set(data.train.classes) <= {"cat", "dog"} and sorted(tmp_path.rglob("*")) == before


def test_zip_member_that_unpacks_to_too_much(tmp_path, monkeypatch):
    root = folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    (root / "cat" / "huge.png").write_bytes((root / "cat/0.png").read_bytes() + b"\0" * 100_000)
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for p in root.rglob("*.png"):
            z.write(p, p.relative_to(root))
    monkeypatch.setattr(module, "_MOST_BYTES", 50_000)
    data = load_data(f"folder:{archive}")
    assert list(data.skipped) == ["cat/huge.png"] and "not trusted" in data.skipped["cat/huge.png"]


def test_home_directory(tmp_path, monkeypatch):
    folder(tmp_path / "pets", {"cat": 2, "dog": 2})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load_data("folder:~/pets").train) == 2


def test_linked_folders_end(tmp_path):
    folder(tmp_path / "pets", {"cat": 2, "dog": 2})
    os.symlink(tmp_path / "pets", tmp_path / "pets" / "cat" / "again")
    assert len(load_data(f"folder:{tmp_path / 'pets'}").train) == 2


def test_linked_folders_are_folders(tmp_path):
    pets = folder(tmp_path / "pets", {".store/cat": 4, ".store/dog": 4, "one": 4, "two": 4})
    for name in ("cat", "dog"):
        os.symlink(pets / ".store" / name, pets / name)
    os.symlink(pets / "two", pets / "one" / "more")  # a picture may be seen twice, but no class is lost
    data = load_data(f"folder:{pets}")
    assert data.train.classes == ("cat", "dog", "one", "two")
    assert data.train.labels[:, 0].bincount().tolist() == [3, 3, 7, 3]
    os.symlink(pets / "one", pets / "two" / "back")  # one holds two, and two holds one
    assert load_data(f"folder:{pets}").train.classes == ("cat", "dog", "one", "two")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    pets, listed = folder(tmp_path / "pets", {"cat": 3, "dog": 3, "owl": 3}), os.scandir

    def scandir(path):
        if str(path).endswith("owl"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)  # who is root may read everything
    with pytest.raises(InputError, match="the folder .*owl cannot be read"):
        load_data(f"folder:{pets}")


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system of a Mac takes UTF-8 alone")
def test_names_that_are_not_utf8_stay_apart(tmp_path):
    for name in (b"\xb9\xb7", b"\xbb\xa8"):
        (at := tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(name)).mkdir(parents=True)
        for k in range(3):
            picture(k).save(at / f"{k}.png")
    data = load_data("folder:" + str(tmp_path / os.fsdecode(b"caf\xe9")))
    assert len(data.train.classes) == 2 and data.name == r"caf\udce9" and safe_name(data.name)


def test_names_keep_what_follows_a_dot(tmp_path):
    assert load_data(f"folder:{folder(tmp_path / 'pets.v1', {'cat': 2, 'dog': 2})}").name == "pets.v1"


def test_a_stray_picture_above_the_classes(tmp_path):
    root = folder(tmp_path / "f", {"pets/cat": 4, "pets/dog": 4})
    picture(1).save(root / "pets" / "cover.png")
    picture(2).save(root / "cover.png")
    data = load_data(f"folder:{root}")
    assert data.train.classes == ("cat", "dog") and sorted(data.skipped) == ["cover.png", "pets/cover.png"]


def test_a_name_and_the_same_with_a_number(tmp_path):
    assert load_data(f"folder:{folder(tmp_path, {'cat2': 3, 'Cat': 3, 'cat10': 3})}").train.classes == (
        "Cat", "cat2", "cat10")  # fmt: skip


def test_names_in_zips_from_a_mac_and_from_windows(tmp_path):
    root = folder(tmp_path / "pets", {"Caf##": 3, "dog": 3})
    mac = zipped(root, tmp_path / "mac.zip")
    mac.write_bytes(mac.read_bytes().replace(b"Caf##", "Café".encode()))  # UTF-8 that does not say so
    assert load_data(str(mac)).train.classes == ("Café", "dog")
    for k, form in enumerate(("pets\\{}\\{}", "./{}/{}")):
        with zipfile.ZipFile(tmp_path / f"{k}.zip", "w") as z:
            for p in root.rglob("*.png"):
                z.writestr(form.format(p.parent.name, p.name), p.read_bytes())
        assert load_data(str(tmp_path / f"{k}.zip")).train.classes == ("Caf##", "dog")


def test_backslashes_within_the_names_of_a_zip_part_nothing(tmp_path):
    root, names = folder(tmp_path / "pets", {"a": 3, "b": 3}), {"a": "ソファ", "b": "ソース"}
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as z:  # as Windows in Japan writes it: a byte of ソ is a backslash
        for p in root.rglob("*.png"):
            z.writestr(f"{names[p.parent.name].encode('cp932').decode('cp437')}/{p.name}", p.read_bytes())
    assert len(load_data(str(tmp_path / "pets.zip")).train.classes) == 2


def test_classes_with_the_name_of_a_part(tmp_path):
    for k, names in enumerate((["car", "test tube", "train"], ["steam train", "test tube"])):
        assert load_data(f"folder:{folder(tmp_path / str(k), dict.fromkeys(names, 3))}").train.classes == tuple(names)
    root = folder(tmp_path / "masks", {f"{p}/{c}": 3 for p in ("train", "train_masks", "test") for c in "ab"})
    with pytest.raises(InputError, match="has test, train and beside them train_masks"):
        load_data(f"folder:{root}")


def test_parts_with_longer_names(tmp_path):
    data = load_data(f"folder:{folder(tmp_path, {f'seg_{p}/{c}': 3 for p in ('train', 'test') for c in 'ab'})}")
    assert data.train.classes == ("a", "b") and all(n.startswith("seg_test/") for n in data.test.names)


def test_grey_is_asked_for_a_little_at_a_time(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 30, "b": 30}, size=(8, 8))
    for p in tmp_path.rglob("*.png"):
        Image.open(p).convert("L").convert("RGB").save(p)
    asked, decode = [], module._Decoder.decode

    def spy(self, at):
        asked.append(len(at) * int(np.prod(self.shape[1:])))
        return decode(self, at)

    monkeypatch.setattr(module._Decoder, "decode", spy)
    monkeypatch.setattr(module, "_IN_MEMORY", 0)
    assert load_data(f"folder:{tmp_path}", size=1024).train.channels == 1 and max(asked) <= 1 << 26


def test_sets_called_sets(tmp_path):
    root = folder(tmp_path / "f", {f"{part}/{name}": 3 for part in ("training_set", "test-set") for name in ("a", "b")})
    data = load_data(f"folder:{root}")
    assert data.train.classes == ("a", "b") and len(data.train) == len(data.test) == 6


def test_digits_forgive_case_and_dashes_and_split_by_seed():
    a, b, other = load_data("digits"), load_data(" Digits "), load_data("digits", seed=1)
    assert a.train.classes == tuple("0123456789") and len(a.train) + len(a.test) == 1797 and a.train.size == (8, 8)
    assert a.train.fingerprint == b.train.fingerprint != other.train.fingerprint
    assert a.train.pictures().max() == 255 and a.train.pictures().min() == 0
    assert load_data("digits", size="16x12", channels=3).train.pictures([0]).shape == (1, 3, 16, 12)


def test_a_folder_wins_over_a_name(tmp_path, monkeypatch):
    folder(tmp_path / "digits", {"one": 2, "two": 2})
    monkeypatch.chdir(tmp_path)
    assert load_data("digits").train.classes == ("one", "two")


def test_a_known_set_as_a_folder(tmp_path, monkeypatch):
    folder(tmp_path / "cifar10/train", {"cat": 2, "dog": 2})
    folder(tmp_path / "cifar10/test", {"cat": 1, "dog": 1})
    monkeypatch.setenv("CLASSYPICS_DATA", str(tmp_path))
    data = load_data("CIFAR-10")
    assert (data.train.classes, len(data.train), len(data.test)) == (("cat", "dog"), 4, 2)


def test_a_download_that_fails_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    import torchvision

    def offline(root, download, train):
        if not download:
            raise RuntimeError("Dataset not found")
        Path(root, "MNIST").mkdir()
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", offline)
    monkeypatch.setenv("CLASSYPICS_DATA", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="mnist is not in .*no network"):
        load_data("mnist")
    assert not list((tmp_path / "sets").iterdir())


def test_a_download_is_moved_in_whole(tmp_path, monkeypatch):
    import torchvision

    class Small:
        def __init__(self, root, download, train):
            if download:
                Path(root, "MNIST").mkdir()
            if not Path(root, "MNIST").exists():
                raise RuntimeError("Dataset not found")
            self.data = torch.arange(4 * 36, dtype=torch.uint8).reshape(4, 6, 6)
            self.targets = torch.tensor([0, 1, 0, 1])

    monkeypatch.setattr(torchvision.datasets, "MNIST", Small)
    monkeypatch.setenv("CLASSYPICS_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data = load_data("mnist")
    assert [p.name for p in tmp_path.iterdir()] == ["MNIST"] and data.train.labels[:, 0].tolist() == [0, 1, 0, 1]


def test_a_part_of_a_set_makes_way_for_the_whole(tmp_path, monkeypatch):
    import torchvision

    class Small:
        def __init__(self, root, download, train):
            images = Path(root, "MNIST", "images")
            if download:
                images.parent.mkdir()
                images.write_bytes(bytes(4 * 36))
            if not images.exists() or images.stat().st_size < 4 * 36:
                raise RuntimeError("Dataset not found or corrupted")
            self.data, self.targets = torch.zeros(4, 6, 6, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])

    monkeypatch.setattr(torchvision.datasets, "MNIST", Small)
    monkeypatch.setenv("CLASSYPICS_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MNIST").mkdir()
    for left in (3, 4):  # twice
        (tmp_path / "MNIST" / "images").write_bytes(bytes(left))
        assert len(load_data("mnist").train) == 4
    assert {p.name for p in tmp_path.iterdir()} == {"MNIST", "MNIST.incomplete", "MNIST.incomplete~"}
    assert (tmp_path / "MNIST.incomplete" / "images").read_bytes() == bytes(3)  # nothing is thrown away


def test_flowers_celeba_and_cifar_as_torchvision_gives_them(tmp_path, monkeypatch):
    import torchvision

    folder(tmp_path, {"celeba/img_align_celeba": 9}, size=(178, 218))
    pics = [tmp_path / f"celeba/img_align_celeba/{i}.png" for i in range(9)]

    class Part:
        def __init__(self, root, *, download, split=None, train=None):
            self.root, self.base_folder = str(tmp_path), "celeba"
            part = range(9)[{"train": 0, "val": 1, "valid": 1, "test": 2}[split] :: 3] if split else range(9)
            self.classes, self._labels = ["rose", "aster", "sword lily"], [i // 3 for i in part]
            self._image_files, self.filename = [pics[i] for i in part], [pics[i].name for i in part]
            self.attr, self.attr_names = torch.tensor([[i % 2, i // 5] for i in part]), ["Smiling", "Young", ""]
            self.data, self.targets = np.stack([np.asarray(picture(i, (32, 32))) for i in part]), [i // 3 for i in part]

    for name in ("Flowers102", "CelebA", "CIFAR10"):
        monkeypatch.setattr(torchvision.datasets, name, type(name, (Part,), {}))
    monkeypatch.chdir(tmp_path)
    flowers = load_data("flowers_102")
    assert flowers.train.classes == ("rose", "aster", "sword lily")  # their order, not the alphabet's
    assert (len(flowers.train), len(flowers.test)) == (6, 3) and flowers.test.labels[:, 0].tolist() == [0, 1, 2]
    celeba = load_data("CelebA")
    assert celeba.train.columns == {"Smiling": ("no", "yes"), "Young": ("no", "yes")} and len(celeba.test) == 3
    assert celeba.test.labels.tolist() == [[0, 0], [1, 1], [0, 1]] and celeba.original_sizes[0] == (218, 178)
    cifar = load_data("cifar10")
    assert cifar.train.channels == 3 and torch.equal(cifar.train.pictures(), cifar.test.pictures())
    assert np.array_equal(cifar.train.pictures([4])[0].permute(1, 2, 0), np.asarray(picture(4, (32, 32))))


def test_what_need_not_be_downloaded(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setattr(module, "data_roots", lambda: [tmp_path])
    monkeypatch.chdir(tmp_path)
    assert is_here("digits") and is_here("folder:photos") and not is_here("CIFAR-10") and not is_here("flowers102")
    (tmp_path / "cifar10" / "train").mkdir(parents=True)
    assert is_here("CIFAR-10") and is_here("cifar10") and not is_here("mnist")
    (tmp_path / "mnist").mkdir()
    assert is_here("mnist")  # a folder of that name wins

    def damaged(root, *, download):
        raise EOFError("it ends early")

    monkeypatch.setattr(torchvision.datasets, "CelebA", damaged)
    with pytest.raises(InputError, match="celeba in .* is damaged .*move it away"):
        is_here("celeba")


@pytest.mark.skipif("CLASSYPICS_DATA" not in os.environ, reason="CLASSYPICS_DATA names no folder with the real sets")
@pytest.mark.parametrize("name, class_3", [("MNIST", "3"), ("fashion-mnist", "Dress")])
def test_real_sets(name, class_3):
    data = load_data(name)
    assert (len(data.train), len(data.test)) == (60_000, 10_000) and data.train.classes[3] == class_3
    assert data.train.size == (28, 28) and data.train.channels == 1
    assert data.test.labels[:, 0].bincount().min() > 850


# ---------------------------------------------------------------- tables


def table(path: Path, rows, *, header=("file", "colour", "shape"), delimiter=",") -> Path:
    with open(path, "w", newline="", encoding="utf-8-sig") as f:
        csv.writer(f, delimiter=delimiter).writerows([header, *rows])
    return path


def shapes(root: Path) -> list:
    folder(root, {"pics": 12})
    return [(f"pics/{i}.png", ("red", "blue")[i % 2], ("round", "square", "long")[i % 3]) for i in range(12)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table_with_two_columns(tmp_path, delimiter):
    data = load_data(f"csv:{table(tmp_path / 't.csv', shapes(tmp_path), delimiter=delimiter)}")
    assert data.train.columns == {"colour": ("blue", "red"), "shape": ("long", "round", "square")}
    for s in (data.train, data.test):
        for name, (colour, shape) in zip(s.names, s.labels.tolist()):
            i = int(name[5:-4])
            assert (colour, shape) == (("red", "blue").index(("blue", "red")[i % 2]), (1, 2, 0)[i % 3])
    with pytest.raises(InputError, match="colour, shape"):
        data.train.classes  # noqa: B018
    assert "2 label columns" in data.summary and "shape" in analyse(data).text()


def test_table_columns_by_name(tmp_path):
    rows = [(shape, f, colour) for f, colour, shape in shapes(tmp_path)]
    path = table(tmp_path / "t.csv", rows, header=("shape", "where", "colour"))
    data = load_data(f"csv:{path}", image_column="where", label_columns=["colour"])
    assert data.train.classes == ("blue", "red")
    assert load_data(str(path), image_column="where", label_columns="colour, shape").train.labels.shape[1] == 2
    with pytest.raises(InputError, match="did you mean 'colour'"):
        load_data(f"csv:{path}", image_column="where", label_columns="color")
    with pytest.raises(InputError, match="belong to csv:PATH"):
        load_data("digits", label_columns="colour")


def test_a_row_with_too_many_cells_is_no_label_cut_short(tmp_path):
    (tmp_path / "t.csv").write_text("file,place\n~a.png,Paris\n~a.png,Paris, Texas\n")
    picture(1).save(tmp_path / "~a.png")
    with pytest.raises(InputError, match="line 3 .*has more than its 2 columns: 'Texas'"):
        load_data(f"csv:{tmp_path / 't.csv'}")
    rows = "~a.png,Rome,\n1.png,Paris\n2.png,Rome\n3.png,Paris\n"  # a comma at the end says nothing
    (tmp_path / "t.csv").write_text("file,place\n" + rows)
    for k in (1, 2, 3):
        picture(k).save(tmp_path / f"{k}.png")
    assert load_data(f"csv:{tmp_path / 't.csv'}").train.classes == ("Paris", "Rome")


def test_a_file_twice_in_a_table_is_refused(tmp_path):
    rows = shapes(tmp_path)
    with pytest.raises(InputError, match="line 14 .* names 'pics/0.png' again, after line 2; keep one"):
        load_data(f"csv:{table(tmp_path / 't.csv', rows + rows[:1])}")


def test_a_class_of_heic_is_not_lost(tmp_path):
    rows = shapes(tmp_path)
    for k in "xy":
        (tmp_path / f"{k}.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        rows.append((f"{k}.heic", "green", "round"))
    with pytest.raises(InputError, match="no picture of 'green' .* can be used; first x.heic"):
        load_data(f"csv:{table(tmp_path / 't.csv', rows)}")
    root = folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    (root / "owl").mkdir()
    (tmp_path / "x.heic").rename(root / "owl" / "x.heic")
    with pytest.raises(InputError, match="without pictures: owl, and owl/x.heic .*; fill or remove"):
        load_data(f"folder:{root}")


def test_a_table_written_on_windows(tmp_path):
    rows = [(name.replace("/", "\\"), *labels) for name, *labels in shapes(tmp_path)]
    assert load_data(f"csv:{table(tmp_path / 't.csv', rows)}").train.columns["colour"] == ("blue", "red")


def test_a_name_too_long_to_be_one(tmp_path):
    with pytest.raises(InputError, match="unknown data source"):
        load_data("x" * 300)
    (tmp_path / "t.csv").write_text(f"file,label\n{'long ' * 100},a\nshort,b\n")
    with pytest.raises(InputError, match="names 2 files that are not there"):
        load_data(f"csv:{tmp_path / 't.csv'}")


def test_names_from_a_mac_are_found_in_a_table_from_elsewhere(tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        root, rows = tmp_path / form, []
        root.mkdir()
        for i in range(6):
            picture(i).save(root / unicodedata.normalize(form, f"café {i}.png"))
            rows.append((unicodedata.normalize(other, f"café {i}.png"), "red" if i % 2 else "blue"))
        data = load_data(f"csv:{table(root / 't.csv', rows, header=('file', 'colour'))}")
        assert len(data.train) + len(data.test) == 6


def test_table_mistakes(tmp_path):
    rows = shapes(tmp_path)
    for n, (change, message) in enumerate([
        (lambda r: r[:3] + [("pics/3.png", "", "round")] + r[4:], "line 5 .* nothing for 'colour'"),
        (lambda r: r[:3] + [("pics/3.png",)] + r[4:], "line 5 .* nothing for 'colour'"),
        (lambda r: r[:3] + [("pics/no.png", "red", "round")] + r[4:], "1 files that are not there, first 'pics/no.png'"),  # noqa: E501
        (lambda r: [], "no labelled pictures"),
        (lambda r: [(f, "red", s) for f, _, s in r], "one value of 'colour', 'red'"),
        (lambda r: r[:-1] + [(r[-1][0], "green", "round")], "value of 'colour' 'green' has one picture"),
    ]):
        path = table(tmp_path / f"{n}.csv", change(rows))
        with pytest.raises(InputError, match=message):
            load_data(f"csv:{path}")
    with pytest.raises(InputError, match="first line must name the columns"):
        load_data(f"csv:{table(tmp_path / 'none.csv', rows[1:], header=rows[0])}")
    (tmp_path / "excel.csv").write_bytes(b"\xff\xfe\x00f\x00i\x80\x81")
    with pytest.raises(InputError, match="save it as CSV in UTF-8"):
        load_data(f"csv:{tmp_path / 'excel.csv'}")
    with pytest.raises(InputError, match="is a folder"):
        load_data(f"csv:{tmp_path}")


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_exif_orientation(tmp_path, orientation, ending):
    upright = picture(3, (40, 24))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores `upright` so
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"jpg": dict(quality=100, subsampling=0), "webp": dict(lossless=True)}.get(ending, {})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            stored.save(tmp_path / name / f"{i}.{ending}", exif=exif, **more)
    data = load_data(f"folder:{tmp_path}")
    assert data.original_sizes == ((24, 40), (24, 40)) and data.train.size == (24, 40)
    error = data.train.pictures([0])[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(upright)
    assert abs(error).mean() < 2


def test_transparency_is_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.putpixel((1, 2), (255, 0, 0, 255))
    clear.putpixel((2, 2), (0, 0, 0, 128))
    fitted = fit_picture(clear, (4, 4), channels=3)
    assert fitted[0, 0].tolist() == [255] * 3 and fitted[2, 1].tolist() == [255, 0, 0] and 120 < fitted[2, 2, 0] < 135
    assert fit_picture(clear.convert("LA"), (4, 4), channels=1)[0, 0, 0] == 255
    palette = picture(1).quantize(8)
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert fit_picture(palette, (10, 12), channels=3)[0, 0].tolist() == [255] * 3


def test_sixteen_bits(tmp_path):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(values).save(tmp_path / "deep.png")
    for image in (Image.open(tmp_path / "deep.png"), Image.fromarray(values.astype(np.int32))):
        assert np.array_equal(fit_picture(image, (16, 16), channels=1)[..., 0], np.arange(256).reshape(16, 16))
    with pytest.raises(ValueError, match="floating-point"):
        fit_picture(Image.fromarray(np.zeros((4, 4), np.float32)), (4, 4), channels=1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBA"])
def test_every_mode_has_its_colours(mode):
    plain = Image.new("RGB", (6, 6), (255, 255, 255)).convert(mode)
    fitted = fit_picture(plain, (6, 6), channels=3)
    assert (fitted >= 254).all() and fitted.shape == (6, 6, 3)
    assert fit_picture(plain, (3, 2), channels=1).shape == (3, 2, 1)


def test_the_centre_is_cut_out_and_nothing_is_squeezed():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    assert (fit_picture(wide, (32, 32), channels=3)[:, 2:-2] == [0, 0, 255]).all()
    tall = fit_picture(wide.transpose(Image.Transpose.ROTATE_90), (64, 32), channels=3)
    assert (tall[20:-20] == [0, 0, 255]).all() and (tall[:10] == [255, 0, 0]).all()


@pytest.mark.parametrize("side", [28, 178, 450, 500])
def test_any_size_can_be_had(side):  # 28 / 25 * 25 is a little more than 28
    plain = Image.new("L", (side, side + 40), "white")
    for size in range(4, 226):
        assert (fit_picture(plain, (size, size), channels=1) == 255).all(), size


def test_a_large_jpeg_is_not_decoded_in_full(tmp_path):
    picture(0, (1600, 1200)).save(tmp_path / "photo.jpg", quality=95)
    opened = Image.open(tmp_path / "photo.jpg")
    quick = fit_picture(opened, (64, 64), channels=3).astype(int)
    assert opened.size == (200, 150)  # an eighth was enough
    full = fit_picture(Image.open(tmp_path / "photo.jpg").copy(), (64, 64), channels=3)
    assert abs(quick - full).mean() < 3


def test_grey_only_if_every_picture_is(tmp_path):
    folder(tmp_path, {"a": 3, "b": 3}, mode="L")
    for p in (tmp_path / "b").iterdir():  # stored as colour, and yet grey
        Image.open(p).convert("RGB").save(p)
    Image.open(tmp_path / "a/0.png").quantize(16).save(tmp_path / "a/0.png")
    assert load_data(f"folder:{tmp_path}").train.channels == 1
    assert load_data(f"folder:{tmp_path}", channels=3).train.channels == 3
    picture(0).save(tmp_path / "a/1.png")
    data = load_data(f"folder:{tmp_path}")
    assert data.train.channels == 3
    assert load_data(f"folder:{tmp_path}", channels=1).train.channels == 1
    with pytest.raises(InputError, match="channels must be"):
        load_data(f"folder:{tmp_path}", channels=2)


@pytest.mark.parametrize("sizes, expected", [
    ([(20, 28)], (28, 20)), ([(64, 64)], (64, 64)), ([(65, 64)], (32, 32)), ([(20, 28), (28, 20)], (32, 32)),
])  # fmt: skip
def test_size_by_default(tmp_path, sizes, expected):
    for k, name in enumerate("aabb"):
        (tmp_path / name).mkdir(exist_ok=True)
        picture(k, sizes[k % len(sizes)]).save(tmp_path / name / f"{k}.png")
    assert load_data(f"folder:{tmp_path}").train.size == expected
    assert load_data(f"folder:{tmp_path}", size="28x20").train.pictures().shape[2:] == (28, 20)


def test_parse_size():
    assert [parse_size(s) for s in (32, "32", " 28x20 ", "28X20", "28×20", (28, 20))] == [(32, 32)] * 2 + [(28, 20)] * 4
    for wrong in ("0", "-3", "big", "1x2x3", "", "32.5", 0, 99999, (1,) * 3, None):
        with pytest.raises(InputError, match="size"):
            parse_size(wrong)


# ---------------------------------------------------------------- what is broken


@pytest.fixture
def broken(tmp_path):
    root = folder(tmp_path / "mixed", {"a": 4, "b": 4})
    whole = (root / "a/0.png").read_bytes()
    (root / "a/stopped.png").write_bytes(whole[: len(whole) // 2])
    picture(9, (200, 200)).save(root / "a/stopped.jpg", quality=90)
    (root / "a/stopped.jpg").write_bytes((root / "a/stopped.jpg").read_bytes()[:3000])
    (root / "b/list.jpg").write_text("milk, bread")
    (root / "b/empty.png").write_bytes(b"")
    (root / "b/phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "b/renamed.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    bomb(root / "b/bomb.png")
    (root / "stray.png").write_bytes(whole)
    (root / "notes.txt").write_text("not a picture, and no matter")
    return root


EXPECTED = {
    "a/stopped.png": "truncated", "a/stopped.jpg": "truncated", "b/list.jpg": "not a picture", "b/empty.png": "empty",
    "b/phone.heic": "save it as JPEG", "b/renamed.jpg": "save it as JPEG", "b/bomb.png": "trusted",
    "stray.png": "beside the class folders",
}  # fmt: skip


@pytest.mark.parametrize("lazy", [False, True])
def test_broken_files_are_named_and_skipped(broken, lazy, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY", 0 if lazy else 1 << 30)
    data = load_data(f"folder:{broken}")
    assert set(data.skipped) == set(EXPECTED) and len(data.train) + len(data.test) == 8
    for name, words in EXPECTED.items():
        assert words in data.skipped[name], data.skipped[name]
    assert data.train.pictures().shape == (6, 3, 10, 12)
    assert "cannot be used: 8" in analyse(data).text()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_picture_that_is_broken_inside_is_found_beforehand(lazy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY", 0 if lazy else 1 << 30)
    folder(tmp_path, {"a": 4, "b": 4})
    bent = tmp_path / "a" / "2.png"
    pixels = bytearray(bent.read_bytes())
    pixels[pixels.index(b"IDAT") + 12] ^= 0xFF  # its end is whole
    bent.write_bytes(pixels)
    Image.new("F", (12, 10)).save(tmp_path / "b" / "floats.tif")  # decodes well, and is no picture
    data = load_data(f"folder:{tmp_path}")
    assert list(data.skipped) == ["a/2.png", "b/floats.tif"] and len(data.train) + len(data.test) == 7
    assert data.train.pictures().shape[0] == len(data.train) and "a/2.png" in analyse(data).text()
    with pytest.raises(InputError, match="2 files of .* cannot be used, first a/2.png"):
        load_data(f"folder:{tmp_path}", strict=True)


def test_what_a_system_and_classypics_keep_is_no_class(tmp_path, monkeypatch):
    folder(tmp_path, {"cats": 3, "dogs": 3, "#recycle": 2, "cats/@eaDir/0.png": 1, "runs/first/samples": 2})
    folder(tmp_path, {"outputs/run/samples": 2, "__MACOSX/cats": 2, ".cache/x": 1})
    for name in ("recipe.yaml", "config.json"):
        (tmp_path / "runs" / "first" / name).write_text("of a run")
    (tmp_path / "runs" / "cow.png").write_bytes((tmp_path / "cats" / "0.png").read_bytes())
    (tmp_path / "runs" / "ox.png").write_bytes((tmp_path / "cats" / "1.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", "outputs")
    data = load_data("folder:.")
    assert data.train.classes == ("cats", "dogs", "runs") and len(data.train) + len(data.test) == 8


def test_strict_refuses_them(broken):
    with pytest.raises(InputError, match="8 files of .* cannot be used, first"):
        load_data(f"folder:{broken}", strict=True)


def test_a_class_of_broken_files(tmp_path):
    folder(tmp_path, {"a": 3, "b": 3, "c": 1})
    for p in (tmp_path / "c").iterdir():
        p.write_bytes(b"junk")
    (tmp_path / "c/1.png").write_bytes(b"junk too")
    with pytest.raises(InputError, match="no picture of 'c' .* can be used"):
        load_data(f"folder:{tmp_path}")


def nothing(p): p.mkdir()
def empty_class(p): folder(p, {"a": 2, "b": 2}) and (p / "c").mkdir()
def flat(p): folder(p.parent, {p.name: 3})
def only_heic(p): (p / "a").mkdir(parents=True), (p / "a/1.heic").write_bytes(b"ftypheic")
def test_only(p): folder(p / "train", {"a": 2, "b": 2}), folder(p / "test", {"a": 2, "c": 2})  # noqa: E704


def nothing_to_learn_from(p): [folder(p / part, {"a": 2, "b": 2}) for part in ("val", "test")]  # noqa: E704


test_only.__test__ = False


@pytest.mark.parametrize("make, message", [
    (lambda p: None, "is not there"),
    (nothing, "has no pictures"),
    (lambda p: p.write_text("x"), "neither a folder nor a whole zip"),
    (lambda p: folder(p, {"a": 3}), "one class, 'a'"),
    (lambda p: folder(p, {"a": 3, "b": 1}), "class 'b' has one picture"),
    (lambda p: folder(p, {"a": 1, "b": 1}), "class 'a' and 1 others have one picture"),
    (empty_class, "class folders without pictures: c"),
    (flat, "no folder per class"),
    (only_heic, "no pictures, and a/1.heic is HEIC"),
    (test_only, "class 'c' is only among the test pictures"),
    (nothing_to_learn_from, "has test and val, and nothing to learn from"),
])  # fmt: skip
def test_folders_that_cannot_be_learned(tmp_path, make, message):
    make(tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        load_data(f"folder:{tmp_path / 'set'}")
    assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before


def test_damaged_zip(tmp_path):
    archive = zipped(folder(tmp_path / "pets", {"cat": 3, "dog": 3}), tmp_path / "pets.zip")
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(InputError, match="neither a folder nor a whole zip"):
        load_data(f"folder:{archive}")


def test_a_name_is_known_however_it_is_written():
    assert [known_name(n) for n in ("CIFAR-10", " Fashion MNIST", "digits")] == ["cifar10", "fashion_mnist", "digits"]
    assert known_name("folder:pets") is None and known_name("") is None


def test_another_colour_is_no_copy():
    pictures = torch.full((3, 3, 16, 16), 255, dtype=torch.uint8)
    pictures[0, 1:, 4:9, 4:9] = 0  # a red square
    pictures[1, :2, 4:9, 4:9] = 0  # a blue one
    pictures[2] = (pictures[1] * 0.8).to(torch.uint8)
    assert near_copies(module._digest(PictureSet(pictures, [0, 1, 1], columns=["red", "blue"]))[1]) == [(1, 2)]


def test_a_large_picture_is_looked_at_almost_alone():
    assert at_once(28 * 28) == 1024 and at_once(28 * 28, most=4096) == 4096
    assert at_once(3 * 512 * 512) == 21 and at_once(10**9) == 1


@pytest.mark.parametrize("name, hint", [("fashion-minst", "fashion_mnist"), ("digit", "digits"), ("cifar", "cifar10")])
def test_unknown_source(name, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"did you mean '{hint}'"):
        load_data(name)
    for nonsense in ("", ":", "folder:", "no/such/folder"):
        with pytest.raises(InputError):
            load_data(nonsense)


# ---------------------------------------------------------------- sets and batches


def test_lazy_is_the_same(tmp_path, monkeypatch):
    root = folder(tmp_path / "pets", {"cat": 9, "dog": 9}, size=(50, 40))
    for source in (root, zipped(root, tmp_path / "pets.zip")):
        whole = load_data(f"folder:{source}", size=16)
        with monkeypatch.context() as m:
            m.setattr(module, "_IN_MEMORY", 0)
            lazy = load_data(f"folder:{source}", size=16)
        assert not isinstance(lazy.train._pictures, torch.Tensor)
        assert torch.equal(lazy.train.pictures(), whole.train.pictures())
        assert torch.equal(lazy.train.subset([3, 1]).pictures([1]), whole.train.pictures([1]))
        a, b = (Batches(d.train, 5, seed=0)[4] for d in (lazy, whole))
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert lazy.train.fingerprint == lazy.train.subset(range(16)).fingerprint != lazy.test.fingerprint


def test_a_lazy_picture_that_vanishes_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY", 0)
    data = load_data(f"folder:{folder(tmp_path, {'a': 3, 'b': 3})}")
    (tmp_path / data.train.names[0]).unlink()
    with pytest.raises(InputError, match=data.train.names[0]):
        data.train.pictures([0])


def numbered(n: int) -> PictureSet:
    pixels = torch.arange(n, dtype=torch.uint8)[:, None, None, None]
    return PictureSet(pixels, torch.arange(n) % 2, columns=["even", "odd"])


def test_picture_set():
    s = numbered(6)
    assert s.labels.shape == (6, 1) and s.classes == ("even", "odd") and len(s) == 6
    assert s.pictures(torch.tensor([True, False] * 3)).flatten().tolist() == [0, 2, 4]
    assert s.subset(s.labels[:, 0] == 1).pictures([-1]).flatten().tolist() == [5]
    assert len(s.subset([])) == 0 and s.subset([]).pictures().shape == (0, 1, 1, 1)
    with pytest.raises(InputError, match="do not belong together"):
        PictureSet(s.pictures(), [0, 1], columns=["a", "b"])


def test_fingerprint_knows_pixels_labels_and_names():
    x, y = numbered(6).pictures(), torch.arange(6) % 2
    same, other = x.clone(), x.clone()
    other[3] += 1
    sets = [PictureSet(x, y, columns=["a", "b"]), PictureSet(same, y, columns=["a", "b"]),
            PictureSet(other, y, columns=["a", "b"]), PictureSet(x, 1 - y, columns=["a", "b"]),
            PictureSet(x, y, columns=["a", "c"])]  # fmt: skip
    prints = [s.fingerprint for s in sets]
    assert prints[0] == prints[1] and len(set(prints)) == 4


@pytest.mark.parametrize("n, size", [(10, 4), (10, 10), (3, 8), (1, 5), (7, 1)])
def test_batches_are_epochs_end_to_end(n, size):
    batches = Batches(numbered(n), size, seed=3)
    row = torch.cat([batches[s][0].flatten() for s in range(4 * n)]).tolist()
    for e in range(4 * size):  # every epoch has every picture once
        assert sorted(row[e * n : (e + 1) * n]) == list(range(n))
    assert batches.epoch(2 * n) == 2 * size and batches[5][1].shape == (size, 1)
    assert torch.equal(Batches(numbered(n), size, seed=3)[17][0], batches[17][0])  # no memory of what came before
    if n == 10:
        assert not torch.equal(Batches(numbered(n), 10, seed=4)[0][0], Batches(numbered(n), 10, seed=3)[0][0])


def test_batches_of_nothing():
    with pytest.raises(InputError):
        Batches(numbered(3), 0, seed=0)
    with pytest.raises(InputError):
        Batches(numbered(3).subset([]), 4, seed=0)


def test_hold_out_is_stratified_and_spares_rare_values():
    labels = torch.stack([torch.arange(60) % 3, torch.zeros(60, dtype=torch.int64)], 1)
    labels[7, 1] = 1  # one picture alone has this value
    for seed in range(20):
        train, test = hold_out(labels, seed=seed)
        assert 7 in train and sorted(train + test) == list(range(60))
        assert labels[test, 0].bincount(minlength=3).min() >= 1
    assert hold_out(labels, seed=5) == hold_out(labels, seed=5)
    assert len({tuple(hold_out(labels, seed=s)[1]) for s in range(5)}) == 5


def test_hold_out_gives_values_of_further_columns_their_share():
    labels = torch.stack([torch.arange(800) // 40, (torch.arange(800) % 40 < 4).long()], 1)  # a tenth of each is rare
    rare = [int(labels[hold_out(labels, seed=s)[1], 1].sum()) for s in range(8)]
    assert 4 <= sum(rare) / 8 <= 12  # 80 pictures of 800 are held out, 8 of them should be rare


def test_safe_names():
    names = ["T-shirt/top", "T-shirt_top", "T-shirt%2Ftop", "7", "Ankle boot", "..", ".hidden", "a\\b", "ünï", "C:"]
    names += ["a" * 300, "a" * 301, "x\n"]
    safe = [safe_name(n) for n in names]
    assert len(set(safe)) == len(names) and safe[3:5] == ["7", "Ankle boot"]
    for s in safe:
        assert not set(s) & set('/\\:\n*?"<>|') and not s.startswith(".") and len(s.encode()) < 200


# ---------------------------------------------------------------- analysis


def test_analysis_finds_copies_on_both_sides(tmp_path):
    folder(tmp_path / "train", {"a": 6, "b": 12}, size=(200, 200))
    folder(tmp_path / "test", {"a": 3, "b": 3}, size=(200, 200), seed=77)
    first = tmp_path / "train/a/0.png"
    (tmp_path / "test/a/same.png").write_bytes(first.read_bytes())
    again = Image.open(tmp_path / "train/b/1.png").point(lambda v: int(v * 0.8 + 20))
    again.save(tmp_path / "test/b/paler.jpg", quality=80)
    (tmp_path / "train/b/blank.png").write_bytes(b"")
    found = analyse(load_data(f"folder:{tmp_path}"))
    assert found.exact == [("train/a/0.png", "test/a/same.png")]
    assert found.near == [("train/b/1.png", "test/b/paler.jpg")]
    assert sorted(found.leaked) == [("test/a/same.png", "train/a/0.png"), ("test/b/paler.jpg", "train/b/1.png")]
    assert found.counts == {"class": {"a": (6, 4), "b": (12, 4)}} and found.balance == 2
    assert dataclasses.replace(found, counts=found.counts | {"kind": {"x": (3, 1), "y": (15, 7)}}).balance == 5
    text = found.text()
    for words in ("2.0 times", "train/b/blank.png is empty", "copy to learn from: 2", "200x200 to 32x32 colour"):
        assert words in text


def test_frames_of_a_film_are_named_once_each():
    thumbnails = torch.rand(1, 256, generator=generator("film")).repeat(3000, 1) + 1e-3 * torch.rand(3000, 256)
    thumbnails[1500] = torch.rand(256, generator=generator("another film"))
    assert near_copies(thumbnails) == [(0, j) for j in range(1, 3000) if j != 1500]  # of four million pairs


def test_every_test_copy_is_counted_where_two_are_the_same_file(tmp_path):
    folder(tmp_path / "train", {"a": 6, "b": 6}, size=(200, 200))
    folder(tmp_path / "test", {"a": 3, "b": 3}, size=(200, 200), seed=77)
    paler = Image.open(tmp_path / "train/b/1.png").point(lambda v: int(v * 0.8 + 20))
    for name in ("one.png", "two.png"):
        paler.save(tmp_path / "test/b" / name)
    found = analyse(load_data(f"folder:{tmp_path}"))
    assert sorted(found.leaked) == [("test/b/one.png", "train/b/1.png"), ("test/b/two.png", "train/b/1.png")]


def test_colour_statistics_are_those_of_the_pixels(tmp_path):
    data = load_data(f"folder:{folder(tmp_path, {'a': 5, 'b': 5})}")
    found, x = analyse(data), data.train.pictures().double() / 127.5 - 1
    assert found.mean == pytest.approx(x.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert found.deviation == pytest.approx(x.std((0, 2, 3), correction=0).tolist(), abs=1e-6)
    assert found.rows.width > found.rows.height  # two rows of four or five


def test_different_pictures_and_blank_ones_are_no_copies(tmp_path):
    folder(tmp_path, {"a": 40, "b": 40}, size=(32, 32))
    Image.new("RGB", (32, 32), "white").save(tmp_path / "a/white.png")
    Image.new("RGB", (32, 32), "black").save(tmp_path / "b/black.png")
    found = analyse(load_data(f"folder:{tmp_path}"))
    assert found.exact == found.near == found.leaked == []
