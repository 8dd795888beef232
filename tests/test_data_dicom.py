"""DICOM by its LUTs and windows against values computed by hand, and windows for 16-bit and float images."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_aggregation.data.decoding import ReadingRule, decode
from model_aggregation.data.inspection import inspect, list_findings
from model_aggregation.data.scan import scan
from model_aggregation.data.windows import Window, read_window
from model_aggregation.errors import DataError, SettingsError


def write_dicom(path: Path, stored: np.ndarray, **elements) -> Path:
    """Write a small DICOM file; ``elements`` by their keywords stand above the defaults."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SamplesPerPixel = 3 if stored.shape[-1:] == (3,) and stored.ndim > 2 else 1
    frames = stored.shape[0] if stored.ndim == 3 and dataset.SamplesPerPixel == 1 else 1
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.Rows, dataset.Columns = stored.shape[1:3] if frames > 1 else stored.shape[:2]
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.HighBit = dataset.BitsStored - 1
    data = stored.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


GREYS = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)


def grey(path: Path, window: Window | None = None) -> list[int]:
    return decode(path, channels=1, rule=ReadingRule(window=window)).ravel().tolist()


def test_without_a_window_the_full_range_of_the_bits_stored_counts(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", GREYS, BitsStored=12)
    assert grey(path) == [0, 64, 128, 255]
    assert decode(path, channels=3).shape == (1, 4, 3)
    signed = write_dicom(tmp_path / "b.dcm", np.array([[-2048, 0, 2047]], dtype=np.int16), BitsStored=12)
    assert grey(signed) == [0, 128, 255]


def test_the_window_of_the_file_after_slope_and_intercept(tmp_path: Path) -> None:
    stored = np.array([[0, 824, 1024, 1064, 1264, 4000]], dtype=np.uint16)  # minus 1024: Hounsfield units
    path = write_dicom(
        tmp_path / "ct.dcm", stored, BitsStored=12, RescaleSlope=1, RescaleIntercept=-1024,
        WindowCenter=[40, 300], WindowWidth=[400, 1500],
    )  # fmt: skip
    hounsfield = stored.astype(float) - 1024
    linear = ((hounsfield - 39.5) / 399 + 0.5) * 255  # PS3.3 C.11.2.1.2.1, first window
    assert grey(path) == np.rint(np.clip(linear, 0, 255)).astype(int).ravel().tolist()


def test_a_given_window_stands_above_that_of_the_file(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", GREYS, BitsStored=12, WindowCenter=5000, WindowWidth=10)
    assert grey(path) == [0, 0, 0, 0]
    assert grey(path, Window(center=2048, width=2048)) == [0, 0, 128, 255]


def test_a_sigmoid_and_a_lut(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "a.dcm", GREYS, BitsStored=12, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID"
    )
    expected = 255 / (1 + np.exp(-4 * (GREYS.astype(float) - 2048) / 1024))
    np.testing.assert_allclose(grey(path), expected.ravel(), atol=0.6)
    from pydicom.dataset import Dataset

    lut = Dataset()
    lut.LUTDescriptor = [4, 0, 8]
    lut.add_new("LUTData", "US", [10, 20, 200, 255])
    small = np.array([[0, 1, 2, 3]], dtype=np.uint16)
    assert grey(write_dicom(tmp_path / "b.dcm", small, BitsStored=12, VOILUTSequence=[lut])) == [10, 20, 200, 255]


def test_monochrome1_is_inverted_also_with_a_window(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", GREYS, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert grey(path) == [255, 191, 127, 0]
    assert grey(path, Window(2048, 2048)) == [255, 255, 127, 0]


def test_colour_and_the_first_of_several_frames(tmp_path: Path) -> None:
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    np.testing.assert_array_equal(decode(write_dicom(tmp_path / "a.dcm", colours), channels=3), colours)
    frames = np.stack([np.full((2, 2), value, dtype=np.uint8) for value in (7, 90)])
    path = write_dicom(tmp_path / "cat" / "b.dcm", frames)
    assert grey(path) == [7, 7, 7, 7]
    assert inspect(scan(tmp_path / "cat" / "..")).frame["frames"].tolist() == [2]


def test_patients_are_the_groups_by_default(tmp_path: Path) -> None:
    for number in range(4):
        pixels = np.full((3, 3), number, dtype=np.uint8)
        write_dicom(tmp_path / "cat" / f"{number}.dcm", pixels, PatientID=f"患者{number // 2}", SpecificCharacterSet="ISO_IR 192")  # fmt: skip  # noqa: E501
    table = inspect(scan(tmp_path))
    assert table.frame["group"].tolist() == ["患者0", "患者0", "患者1", "患者1"]
    assert table.frame["mode"].tolist() == ["MONOCHROME2;8"] * 4
    named = inspect(scan(tmp_path, group=r"(?P<group>\d)\.dcm"))
    assert named.frame["group"].tolist() == ["0", "1", "2", "3"]
    write_dicom(tmp_path / "cat" / "nobody.dcm", np.full((3, 3), 9, dtype=np.uint8))
    assert not inspect(scan(tmp_path)).has_groups


def test_files_without_a_patient_are_told_apart(tmp_path: Path) -> None:
    for number in range(4):
        patient = {"PatientID": f"P{number}"} if number else {}
        write_dicom(tmp_path / "ab"[number % 2] / f"{number}.dcm", GREYS + number, **patient)
    table = inspect(scan(tmp_path))
    assert not table.has_groups
    (finding,) = (found for found in list_findings(table) if found.kind == "no-group")
    assert "3 images name their patient (DICOM), 1 do not" in finding.message
    assert finding.files == ("a/0.dcm",)


def test_files_that_scanners_name_are_found_by_their_content(tmp_path: Path) -> None:
    for name in ("a/IM0001", "b/1.2.840.10008.5"):
        write_dicom(tmp_path / name, GREYS)
    (tmp_path / "b" / "notes").write_bytes(b"no image")
    table = scan(tmp_path)
    assert table.frame["id"].tolist() == ["a/IM0001", "b/1.2.840.10008.5"]
    assert table.ignored == ("b/notes: no suffix",)


def test_damaged_dicom_is_unreadable(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "cat" / "a.dcm", GREYS)
    data = path.read_bytes()
    for number, damaged in enumerate([data[:132], data[:200], data[:-4], b"text"]):
        (tmp_path / "cat" / f"{number}.dcm").write_bytes(damaged)
    table = inspect(scan(tmp_path))
    assert table.frame["readable"].tolist() == [False] * 4 + [True]


def test_without_pydicom_the_message_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"model_aggregation\[dicom\]"):
        decode(path, channels=1)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_a_window_for_16_bits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.array([[0, 1000, 1100, 1200, 60000]], dtype=np.uint16)).save(path)
    assert grey(path, Window(1100, 200)) == [0, 0, 128, 255, 255]


def test_a_window_for_floats_and_none_for_8_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-3.0, 0.0, 3.0]], dtype=np.float32)).save(tmp_path / "f.tif")
    assert grey(tmp_path / "f.tif", Window(0, 6)) == [0, 128, 255]
    Image.fromarray(np.array([[5, 250]], dtype=np.uint8)).save(tmp_path / "b.png")
    assert grey(tmp_path / "b.png", Window(0, 6)) == [5, 250]
    Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)).save(tmp_path / "n.tif")
    with pytest.raises(DataError, match="NaN"):
        grey(tmp_path / "n.tif", Window(0, 6))


@pytest.mark.parametrize("text", ["40", "40,0", "40,-1", "a,b", "1,2,3", "nan,1", ""])
def test_words_that_are_no_window_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="window"):
        read_window(text)
