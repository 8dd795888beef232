"""Every reported number, as pure functions of a table of predictions: no files, no network, no torch."""

from model_aggregation.evaluation.calibration import net_benefit_table, reliability_table
from model_aggregation.evaluation.comparison import Comparison, compare_predictions
from model_aggregation.evaluation.cutoff import Cutoff, CutoffRule, choose_cutoff, default_cutoff
from model_aggregation.evaluation.decision import decide
from model_aggregation.evaluation.estimate import Estimate, format_p
from model_aggregation.evaluation.evaluate import Evaluation, evaluate
from model_aggregation.evaluation.folds import FoldCutoffs
from model_aggregation.evaluation.options import EvaluationOptions
from model_aggregation.evaluation.predictions import Predictions
from model_aggregation.evaluation.roc import precision_recall_table, roc_band, roc_table

__all__ = [
    "Comparison",
    "Cutoff",
    "CutoffRule",
    "Estimate",
    "Evaluation",
    "EvaluationOptions",
    "FoldCutoffs",
    "Predictions",
    "choose_cutoff",
    "compare_predictions",
    "decide",
    "default_cutoff",
    "evaluate",
    "format_p",
    "net_benefit_table",
    "precision_recall_table",
    "reliability_table",
    "roc_band",
    "roc_table",
]
