"""Codes written and read back, bit by bit; files that hold none are refused."""

from __future__ import annotations

import numpy as np
import pytest

from lipflow.checks import InputError
from lipflow.export_codes import CodeSequence, load_codes, save_codes


@pytest.fixture
def codes():
    z = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    z[0, :3] = (1e-20, -3e20, np.float32(0.1))
    return CodeSequence(z, np.array([0, 1, 2, 5, 9, 30, 31]), "frame")


@pytest.mark.parametrize("name", ["codes.npz", "codes.csv", "CODES.CSV"])
def test_codes_come_back_bit_by_bit(tmp_path, codes, name):
    save_codes(tmp_path / name, codes)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    read = load_codes(tmp_path / name)
    np.testing.assert_array_equal(read.z, codes.z)
    assert read.z.dtype == np.float32
    np.testing.assert_array_equal(read.number, codes.number)
    assert read.counts == "frame"


def test_other_programs_read_them(tmp_path, codes):
    save_codes(tmp_path / "codes.csv", codes)
    lines = (tmp_path / "codes.csv").read_text().splitlines()
    assert lines[0] == "frame,z0,z1,z2,z3,z4"
    table = np.loadtxt(tmp_path / "codes.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, 0], codes.number)
    np.testing.assert_array_equal(table[:, 1:].astype(np.float32), codes.z)
    save_codes(tmp_path / "codes.npz", codes)
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["z"], codes.z)


def test_they_are_numbered_from_the_first_on():
    codes = CodeSequence.of([[1.0, 2.0]] * 3, "iteration", first=40)
    assert codes.number.tolist() == [40, 41, 42]


@pytest.mark.parametrize(
    "z", [np.zeros((0, 4), np.float32), np.full((2, 3), np.nan, np.float32), np.zeros(3, np.float32)]
)
def test_what_are_no_codes_is_refused(z):
    with pytest.raises(InputError, match="codes: expected"):
        CodeSequence(z, np.arange(len(z)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "iteration\n",
        "iteration,z0\n1\n",
        "iteration,z0\n1,one\n",
        "iteration,z0\nx,1\n",
        "iteration,z0\n1,nan\n",
        "iteration,z0\n1,2,3\n",
        "iteration,z0\n99999999999999999999,1\n",
        "\0",
        '"',
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, text):
    (tmp_path / "codes.csv").write_text(text)
    with pytest.raises(InputError, match=r"codes .*codes.csv: expected codes as the export writes them"):
        load_codes(tmp_path / "codes.csv")


def test_a_damaged_archive_is_one_line(tmp_path, codes):
    save_codes(tmp_path / "codes.npz", codes)
    whole = (tmp_path / "codes.npz").read_bytes()
    for damaged in (b"", b"text", whole[:100], whole[:60] + b"\0" * 40 + whole[100:]):
        (tmp_path / "codes.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="expected codes as the export writes them"):
            load_codes(tmp_path / "codes.npz")
    np.save((tmp_path / "codes.npz").open("wb"), codes.z)
    with pytest.raises(InputError, match="expected codes as the export writes them"):
        load_codes(tmp_path / "codes.npz")
    np.savez(tmp_path / "codes.npz", other=codes.z)
    with pytest.raises(InputError, match="expected codes as the export writes them"):
        load_codes(tmp_path / "codes.npz")
    with pytest.raises(InputError, match="expected codes as the export writes them"):
        load_codes(tmp_path / "nowhere.csv")


def test_another_suffix_is_refused(tmp_path, codes):
    for act in (lambda path: save_codes(path, codes), load_codes):
        with pytest.raises(InputError, match=r"expected .npz or .csv, got '.txt'"):
            act(tmp_path / "codes.txt")
    assert not list(tmp_path.iterdir())
