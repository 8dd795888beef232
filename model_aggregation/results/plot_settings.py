"""The plot settings: a small YAML file in the form of the earlier program's."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from model_aggregation.config import nearest
from model_aggregation.errors import SettingsError
from model_aggregation.settings_files import read_mapping


class PlotSettings(BaseModel):
    """Words of the ROC figure and the limits of the cutoff.

    ``run_name`` stands in the file that the earlier program came with; it names that file and nothing else.

    >>> PlotSettings().cutoff_ll, PlotSettings(xlabel="1 - specificity").xlabel
    (0.4, '1 - specificity')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_name: Annotated[Any, Field(description="Without meaning here.")] = None
    title: Annotated[str, Field(description="Title of the ROC figure.")] = "ROC"
    xlabel: Annotated[str, Field(description="Label of the horizontal axis (false positive fraction).")] = "FPF"
    ylabel: Annotated[str, Field(description="Label of the vertical axis (true positive fraction).")] = "TPF"
    cutoff_ll: Annotated[float, Field(ge=0, le=1, strict=True, description="Lowest cutoff allowed.")] = 0.4
    cutoff_ul: Annotated[float, Field(ge=0, le=1, strict=True, description="Highest cutoff allowed.")] = 0.6

    @field_validator("title", "xlabel", "ylabel", mode="before")
    @classmethod
    def _nothing_is_no_text(cls, value: Any) -> Any:
        return "" if value is None else value  # "title:" with nothing behind it

    @model_validator(mode="after")
    def _in_order(self) -> "PlotSettings":
        if self.cutoff_ll > self.cutoff_ul:
            raise ValueError(f"cutoff_ll ({self.cutoff_ll}) is above cutoff_ul ({self.cutoff_ul})")
        return self


def read_plot_settings(path: Path) -> PlotSettings:
    """Read plot settings from YAML (UTF-8, or cp932 as on Japanese Windows); what is missing has its default.

    Raises
    ------
    SettingsError
        If the file cannot be read, or for unknown keys and wrong values, all at once.
    """
    try:
        return PlotSettings(**read_mapping(path))
    except ValidationError as error:
        raise SettingsError(f"The plot settings {path} cannot be used:", _problems(error)) from error


def _problems(error: ValidationError) -> list[str]:
    problems = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown; {nearest(key, PlotSettings.model_fields)}")
        elif key:
            problems.append(f"{key}: {finding['msg'].lower()}, but {finding['input']!r} was given")
        else:
            problems.append(str(finding["ctx"]["error"]))
    return problems
