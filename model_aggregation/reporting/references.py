"""The papers behind the methods, cited where a method was used and listed once at the end."""

from dataclasses import dataclass, field

PAPERS = {
    "brier": (
        "Brier 1950",
        "Brier GW (1950) Verification of forecasts expressed in terms of probability. Monthly Weather Review 78:1–3.",
    ),
    "clopper": (
        "Clopper and Pearson 1934",
        "Clopper CJ, Pearson ES (1934) The use of confidence or fiducial limits illustrated in the case of the "
        "binomial. Biometrika 26:404–413.",
    ),
    "cohen_1960": (
        "Cohen 1960",
        "Cohen J (1960) A coefficient of agreement for nominal scales. Educational and Psychological "
        "Measurement 20:37–46.",
    ),
    "cohen_1968": (
        "Cohen 1968",
        "Cohen J (1968) Weighted kappa: nominal scale agreement with provision for scaled disagreement or "
        "partial credit. Psychological Bulletin 70:213–220.",
    ),
    "cox": (
        "Cox 1958",
        "Cox DR (1958) Two further applications of a model for binary regression. Biometrika 45:562–565.",
    ),
    "davison": (
        "Davison and Hinkley 1997",
        "Davison AC, Hinkley DV (1997) Bootstrap Methods and their Application. Cambridge University Press.",
    ),
    "delong": (
        "DeLong et al. 1988",
        "DeLong ER, DeLong DM, Clarke-Pearson DL (1988) Comparing the areas under two or more correlated "
        "receiver operating characteristic curves: a nonparametric approach. Biometrics 44:837–845.",
    ),
    "efron": (
        "Efron and Tibshirani 1993",
        "Efron B, Tibshirani RJ (1993) An Introduction to the Bootstrap. Chapman & Hall.",
    ),
    "fagerland": (
        "Fagerland et al. 2013",
        "Fagerland MW, Lydersen S, Laake P (2013) The McNemar test for binary matched-pairs data: mid-p and "
        "asymptotic are better than exact conditional. BMC Medical Research Methodology 13:91.",
    ),
    "gorodkin": (
        "Gorodkin 2004",
        "Gorodkin J (2004) Comparing two K-category assignments by a K-category correlation coefficient. "
        "Computational Biology and Chemistry 28:367–374.",
    ),
    "hand": (
        "Hand and Till 2001",
        "Hand DJ, Till RJ (2001) A simple generalisation of the area under the ROC curve for multiple class "
        "classification problems. Machine Learning 45:171–186.",
    ),
    "holm": (
        "Holm 1979",
        "Holm S (1979) A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
        "Statistics 6:65–70.",
    ),
    "cameron": (
        "Cameron and Miller 2015",
        "Cameron AC, Miller DL (2015) A practitioner's guide to cluster-robust inference. Journal of Human Resources "
        "50:317–372.",
    ),
    "liang": (
        "Liang and Zeger 1986",
        "Liang KY, Zeger SL (1986) Longitudinal data analysis using generalized linear models. Biometrika 73:13–22.",
    ),
    "matthews": (
        "Matthews 1975",
        "Matthews BW (1975) Comparison of the predicted and observed secondary structure of T4 phage lysozyme. "
        "Biochimica et Biophysica Acta 405:442–451.",
    ),
    "mcclish": (
        "McClish 1989",
        "McClish DK (1989) Analyzing a portion of the ROC curve. Medical Decision Making 9:190–195.",
    ),
    "mogstad": (
        "Mogstad et al. 2024",
        "Mogstad M, Romano JP, Shaikh AM, Wilhelm D (2024) Inference for ranks with applications to mobility "
        "across neighbourhoods and academic achievement across countries. Review of Economic Studies "
        "91:476–518.",
    ),
    "naeini": (
        "Naeini et al. 2015",
        "Naeini MP, Cooper GF, Hauskrecht M (2015) Obtaining well calibrated probabilities using Bayesian "
        "binning. Proceedings of the AAAI Conference on Artificial Intelligence 29:2901–2907.",
    ),
    "newcombe": (
        "Newcombe 1998a",
        "Newcombe RG (1998a) Interval estimation for the difference between independent proportions: comparison"
        " of eleven methods. Statistics in Medicine 17:873–890.",
    ),
    "newcombe_paired": (
        "Newcombe 1998b",
        "Newcombe RG (1998b) Improved confidence intervals for the difference between binomial proportions "
        "based on paired data. Statistics in Medicine 17:2635–2650.",
    ),
    "obuchowski": (
        "Obuchowski 1997",
        "Obuchowski NA (1997) Nonparametric analysis of clustered ROC curve data. Biometrics 53:567–578.",
    ),
    "pepe": (
        "Pepe 2003",
        "Pepe MS (2003) The Statistical Evaluation of Medical Tests for Classification and Prediction. Oxford "
        "University Press.",
    ),
    "robin": (
        "Robin et al. 2011",
        "Robin X, Turck N, Hainard A, et al. (2011) pROC: an open-source package for R and S+ to analyze and "
        "compare ROC curves. BMC Bioinformatics 12:77.",
    ),
    "simel": (
        "Simel et al. 1991",
        "Simel DL, Samsa GP, Matchar DB (1991) Likelihood ratios with confidence: sample size estimation for "
        "diagnostic test studies. Journal of Clinical Epidemiology 44:763–770.",
    ),
    "tsamardinos": (
        "Tsamardinos et al. 2018",
        "Tsamardinos I, Greasidou E, Borboudakis G (2018) Bootstrapping the out-of-sample predictions for "
        "efficient and accurate cross-validation. Machine Learning 107:1895–1922.",
    ),
    "van_calster": (
        "Van Calster et al. 2019",
        "Van Calster B, McLernon DJ, van Smeden M, Wynants L, Steyerberg EW (2019) Calibration: the Achilles "
        "heel of predictive analytics. BMC Medicine 17:230.",
    ),
    "vickers": (
        "Vickers and Elkin 2006",
        "Vickers AJ, Elkin EB (2006) Decision curve analysis: a novel method for evaluating prediction models. "
        "Medical Decision Making 26:565–574.",
    ),
    "wilson": (
        "Wilson 1927",
        "Wilson EB (1927) Probable inference, the law of succession, and statistical inference. Journal of the "
        "American Statistical Association 22:209–212.",
    ),
    "youden": (
        "Youden 1950",
        "Youden WJ (1950) Index for rating diagnostic tests. Cancer 3:32–35.",
    ),
}


@dataclass
class Citations:
    """Collects what a text cites.

    >>> citations = Citations()
    >>> citations("wilson", "holm")
    '(Wilson 1927; Holm 1979)'
    >>> [line.split(" ")[0] for line in citations.listed()]
    ['Holm', 'Wilson']
    """

    used: set[str] = field(default_factory=set)

    def __call__(self, *keys: str) -> str:
        """Return the papers in brackets and remember them."""
        self.used |= set(keys)
        return f"({'; '.join(PAPERS[key][0] for key in keys)})"

    def listed(self) -> list[str]:
        """Return the papers cited so far in alphabetical order."""
        return sorted(PAPERS[key][1] for key in self.used)
