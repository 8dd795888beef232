"""The ROC figure and the plot settings."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as mpl_image
from results_samples import evaluated, predictions

import model_aggregation
from model_aggregation.errors import SettingsError
from model_aggregation.results.figures import roc_figure, write_roc_figure
from model_aggregation.results.plot_settings import PlotSettings, read_plot_settings


def texts(figure: object) -> str:
    """Return every word of a figure."""
    axes = figure.axes[0]
    legend = axes.get_legend()
    said = [*axes.texts, *(legend.get_texts() if legend else [])]
    return "\n".join([axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in said)])


def test_the_curve_is_the_table_and_the_cutoff_lies_on_it(tmp_path: Path) -> None:
    table = predictions(["a", "b"], tmp_path)
    metrics, _, roc = evaluated(table, ["a", "b"])
    metrics["cutoff"]["value"] = 0.55
    figure = roc_figure(roc, metrics, PlotSettings())
    lines = {line.get_marker(): line for line in figure.axes[0].lines}
    curve = figure.axes[0].lines[1]
    assert np.array_equal(curve.get_xdata(), roc["FPR"])
    assert np.array_equal(curve.get_ydata(), roc["TPR"])
    positive = table["correct_label"] == "b"
    above = table["b"] > 0.55
    assert lines["o"].get_xdata()[0] == pytest.approx(above[~positive].mean())
    assert lines["o"].get_ydata()[0] == pytest.approx(above[positive].mean())
    words = texts(figure)
    auc = metrics["auc"]
    assert f"AUC {auc['value']:.3f} (95% CI {auc['low']:.3f}–{auc['high']:.3f})" in words
    assert "cutoff 0.550, validation" in words
    assert words.split("\n")[:3] == ["ROC", "FPF", "TPF"]


def test_what_is_missing_is_said() -> None:
    metrics = {"auc": {"value": None, "reason": "no image of class 'b'"}, "cutoff": {"value": 0.5}}
    figure = roc_figure(None, metrics, PlotSettings())
    assert "no image of class 'b'" in texts(figure)
    assert len(figure.axes[0].lines) == 1  # the diagonal


def test_an_auc_without_interval_says_so(tmp_path: Path) -> None:
    metrics, _, roc = evaluated(predictions(["a", "b"], tmp_path), ["a", "b"])
    metrics["auc"] |= {"low": None, "high": None}
    assert "(no interval)" in texts(roc_figure(roc, metrics, PlotSettings()))


def test_the_png_is_square_and_any_letter_is_quiet(tmp_path: Path) -> None:
    metrics, _, roc = evaluated(predictions(["a", "b"], tmp_path), ["a", "b"])
    path = tmp_path / "図 1.png"
    plot = PlotSettings(title="胸部X線 $bad{ \U0010fffd", xlabel="偽陽性率", ylabel="")
    write_roc_figure(path, roc, metrics, plot)
    height, width = mpl_image.imread(path).shape[:2]
    assert height == width > 500


def test_the_users_matplotlib_settings_do_not_matter(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, numpy as np, pandas as pd\n"
        "from model_aggregation.results.figures import write_roc_figure\n"
        "from model_aggregation.results.plot_settings import PlotSettings\n"
        "roc = pd.DataFrame({'CutOff': [-np.inf, .2, .8], 'TPR': [1, .5, 0], 'FPR': [1, 0, 0.]})\n"
        "write_roc_figure(pathlib.Path(sys.argv[1]), roc, {'auc': {'value': .75}}, PlotSettings())\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(model_aggregation.__file__).parents[1])}
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\naxes.facecolor: red\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name, folder in (("a.png", tmp_path), ("b.png", tmp_path / "empty")):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], cwd=folder, env=environment, check=True)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_plot_settings_of_the_earlier_program(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "plot.yaml"
    path.write_text("title: 肺の表\nxlabel:\nylabel: TPF\ncutoff_ll: 0.3\ncutoff_ul: 1\n", encoding=encoding)
    assert read_plot_settings(path) == PlotSettings(title="肺の表", xlabel="", cutoff_ll=0.3, cutoff_ul=1.0)


def test_all_mistakes_in_plot_settings_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plot.yaml"
    path.write_text("titel: x\ncutoff_ll: 1.5\ncutoff_ul: true\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="did you mean title") as caught:
        read_plot_settings(path)
    assert len(caught.value.problems) == 3
    path.write_text("cutoff_ll: 0.7\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="above cutoff_ul"):
        read_plot_settings(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_plot_settings(tmp_path / "none.yaml")
