"""The JSON API: the numbers of the files, proper errors, and what schemathesis can think of."""

import json

import pandas as pd
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from viewer_browser import viewer_address, viewer_log  # noqa: F401  (fixtures)
from viewer_samples import GROUP, RUN


@pytest.fixture(scope="module")
def get(viewer_address):  # noqa: F811
    with requests.Session() as session:
        session.trust_env = False
        yield lambda path, **options: session.get(viewer_address.rstrip("/") + path, **options)


FEW = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BASE = f"/api/groups/{GROUP}/runs/{RUN}"


def test_numbers_are_those_of_the_files(get, viewer_log):  # noqa: F811
    folder = viewer_log / GROUP / RUN
    assert get(f"{BASE}/metrics").json() == json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_csv(folder / f"{RUN}_test.csv")
    answer = get(f"{BASE}/sets/test/predictions", params={"offset": 5, "limit": 7}).json()
    assert answer["total"] == len(table)
    assert answer["classes"] == ["cat", "dog"]
    rows = table.iloc[5:12]
    assert [image["probabilities"] for image in answer["images"]] == rows[["cat", "dog"]].to_numpy().tolist()
    assert [image["actual"] for image in answer["images"]] == list(rows["correct_label"])


def test_groups_and_runs_are_listed(get):
    groups = {entry["run"] or entry["group"]: entry for entry in get("/api/groups").json()["groups"]}
    assert groups.keys() == {GROUP, "single_run"}
    assert groups[GROUP]["states"] == {"finished": 2, "failed": 1, "planned": 1}
    runs = get(f"/api/groups/{GROUP}/runs").json()
    assert [run["model"] for run in runs["runs"]][:2] == ["torchvision:vgg11", "torchvision:resnet18"]
    assert get(BASE).json()["sets"] == ["test"]


def test_pictures_lie_where_the_list_says(get):
    image = get(f"{BASE}/sets/test/images", params={"limit": 1}).json()["images"][0]
    assert get(image["address"]).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/groups/nothing/runs", 404),
        (f"/api/groups/{GROUP}/runs/nothing", 404),
        (f"{BASE}/sets/nothing/predictions", 404),
        (f"{BASE}/sets/test/predictions?limit=0", 422),
        (f"{BASE}/sets/test/predictions?ofset=3", 422),
        ("/api/nothing", 404),
    ],
)
def test_errors_are_json_and_say_what_is_wrong(get, path, status):
    answer = get(path)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_the_documentation_needs_nothing_from_elsewhere(get):
    page = get("/api").text
    assert "/api/groups/{group}/runs/{run}/metrics" in page
    assert "http" not in page
    assert "<script" not in page


def test_any_request_gets_the_answer_that_is_described(get):
    schema = schemathesis.openapi.from_dict(get("/api/openapi.json").json())
    base = get("/").url.rstrip("/")
    for result in schema.get_all_operations():
        operation = result.ok()

        @FEW
        @given(case=operation.as_strategy())
        def fuzzed(case):
            answer = case.call_and_validate(base_url=base)
            assert answer.status_code < 500

        fuzzed()
