"""What the earlier program did: its settings, its recipe and head, its model lists, its tables."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from training_samples import Lab

import model_aggregation as ma
from model_aggregation.config import make_settings
from model_aggregation.data.augmentation import load_transforms
from model_aggregation.data.loading import training_order
from model_aggregation.earlier_settings import convert_earlier
from model_aggregation.errors import ModelError, SettingsError
from model_aggregation.models.build import build_network, preprocessing_for
from model_aggregation.models.imports import timm_library, torchvision_models
from model_aggregation.models.inference import predict_logits, softmax
from model_aggregation.models.weights import read_weights
from model_aggregation.models.zoo import find_models, parse_model_name
from model_aggregation.settings_files import convert_file, read_settings
from model_aggregation.training.job import epoch_seed

OLD = {
    "run_name": "test_1", "cache": False, "sys_split": True, "save_wip_model": 2, "test": True, "validation": True,
    "test_best_model": True, "data_dir": "data", "weight_only": False, "weight_freeze": [True, 1], "device": "cpu",
    "source": "pytorch", "model_name": "ResNet18", "channel": 3, "num_classes": 2, "ss_label": ["ng", "ok"],
    "batch_size": 8, "pretrained": False, "epoch": 2, "lr": 0.0001, "loss_num": 0, "log_folder": "log\\group1",
}  # fmt: skip


def test_every_key_of_an_earlier_file_is_mapped(tmp_path):
    (tmp_path / "old.yaml").write_bytes(yaml.safe_dump({**OLD, "data_dir": "胸部"}, allow_unicode=True).encode("cp932"))
    settings = read_settings(tmp_path / "old.yaml")
    expected = {
        "name": "test_1", "keep_cache": False, "layout": "classes", "save_every": 2, "test": True, "validation": True,
        "test_weights": "best", "whole_model": True, "freeze": True, "thaw_at": 1, "device": "cpu", "head": "mlp",
        "source": "torchvision", "model": "resnet18", "channels": 3, "num_classes": 2, "positive": "ng",
        "negative": "ok", "batch_size": 8, "pretrained": False, "epochs": 2, "learning_rate": 1e-4, "drop_last": True,
        "loss": "cross_entropy", "comparison": "group1", "recipe": "earlier", "optimizer": "adam", "best_ties": "last",
        "cutoff_on": "validation", "augmentation": "flips", "normalize": "half", "frozen_batch_norm": "update",
    }  # fmt: skip
    assert {key: getattr(settings, key) for key in expected} == expected
    assert (settings.data.name, settings.log_folder.name) == ("胸部", "log")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"loss_num": 1}, {"loss": "bce_with_logits"}),
        ({"loss_num": 2}, {"loss": "multi_margin"}),
        ({"loss_num": 3}, {"loss": "bce_with_logits"}),
        ({"loss_num": 4}, {"loss": "cosine"}),
        ({"log_folder": "log"}, {"log_folder": "log"}),
        ({"log_folder": "results/log/g"}, {"log_folder": "results/log", "comparison": "g"}),
        ({"data_dir": "cache\\test_1"}, {"layout": "splits", "data": "cache/test_1"}),
        ({"sys_split": False}, {"layout": "splits"}),
        ({"weight_freeze": [True, None]}, {"freeze": True, "thaw_at": None}),
        ({"weight_only": True, "test_best_model": False}, {"whole_model": False, "test_weights": "last"}),
        ({"save_wip_model": 0}, {"save_every": None}),
        ({"run_name": "run-1"}, {"name": "run_1"}),
        ({"cutoff_on": "test"}, {"cutoff_on": "test"}),
        ({"source": "timm", "model_name": "ViT_Base_Patch16_224"}, {"source": "timm", "model": "vit_base_patch16_224"}),
    ],
)
def test_what_its_words_mean(change, expected):
    settings = convert_earlier({**OLD, **change}).settings
    assert {key: settings[key] for key in expected} == expected


def test_what_cannot_be_meant_is_refused_at_once():
    with pytest.raises(SettingsError) as caught:
        convert_earlier({**OLD, "loss_num": 5, "modelname": "x", "weight_freeze": True, "ss_label": "a"})
    for words in ("CTC", "did you mean model_name", "weight_freeze", "ss_label"):
        assert words in str(caught.value)


def test_three_classes_have_no_sensitive_label():
    result = convert_earlier({**OLD, "num_classes": 3, "ss_label": ["a", "b"]})
    assert "positive" not in result.settings
    assert "no meaning" in result.notes["num_classes"]


def test_the_converted_file_means_the_same(tmp_path):
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(OLD), encoding="utf-8")
    text = convert_file(tmp_path / "old.yaml")
    (tmp_path / "new.yaml").write_text(text, encoding="utf-8")
    assert read_settings(tmp_path / "new.yaml") == read_settings(tmp_path / "old.yaml")
    assert "cutoff_on: validation  # the earlier program chose the cutoff on the test images" in text


def earlier(name, classes=2, **given):
    settings = make_settings(data="x", model=name, recipe="earlier", **{"pretrained": False, **given})
    torch.manual_seed(0)
    return build_network(parse_model_name(name), classes, settings), settings


@pytest.mark.parametrize(
    ("name", "place", "widths"),
    [
        ("resnet18", "fc", (512, 512)),
        ("resnet50", "fc", (2048, 1024)),
        ("efficientnet_b0", "classifier.1", (1280, 1024)),
        ("alexnet", "classifier", (9216, 1024)),
        ("vgg11_bn", "classifier", (25088, 1024)),
        ("swin_t", "head", (768, 512)),
        ("timm:efficientnet_b0", "classifier", (1280, 640)),
        ("timm:resnet50", "fc", (2048, 1024)),
        ("timm:test_vit", "head", (64, 64)),
    ],
)
def test_the_head_of_two_layers(name, place, widths):
    given = {"image_size": 96} if name == "timm:test_vit" else {}
    network, _ = earlier(name, classes=3, **given)
    head = network.module.get_submodule(place)
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert (head[0].in_features, head[0].out_features) == widths
    assert (head[2].p, head[3].in_features, head[3].out_features) == (0.5, widths[1], 3)
    assert network.head == {f"{place}.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")}


def test_input_is_224_and_299_for_inception_with_mean_and_deviation_one_half():
    for name, size in (("efficientnet_b7", 224), ("inception_v3", 299), ("timm:vit_large_patch32_224", 224)):
        settings = make_settings(data="x", model=name, recipe="earlier")
        facts = preprocessing_for(parse_model_name(name), settings)
        assert (facts.image_size, facts.mean, facts.std) == (size, (0.5,) * 3, (0.5,) * 3)
        assert facts.interpolation == "bilinear"


class PlainNetwork(nn.Module):
    """A ResNet-18 with the head that the description gives, in plain PyTorch."""

    def __init__(self, body):
        super().__init__()
        self.net = torchvision_models().resnet18(weights=None)
        self.net.load_state_dict(body)
        self.net.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 2))

    def forward(self, images):
        return self.net(images)


@pytest.mark.parametrize("frozen", [True, False])
def test_ten_steps_and_predictions_are_those_of_plain_pytorch(tmp_path, frozen):
    body = torchvision_models().resnet18(weights=None).state_dict()
    torch.save(body, tmp_path / "body.pth")
    lab = Lab(
        tmp_path / "run", model="resnet18", pretrained=True, weights=str(tmp_path / "body.pth"), recipe="earlier",
        image_size=32, epochs=5, batch_size=12, freeze=frozen, augmentation="none", normalize="half",
        test_weights="last", **({"thaw_at": None} if frozen else {}),
    )  # fmt: skip
    plain = PlainNetwork(body)
    plain.net.fc.load_state_dict(
        {key.removeprefix("fc."): value for key, value in lab.weights().items() if "fc." in key}
    )
    for name, parameter in plain.net.named_parameters():
        parameter.requires_grad = not frozen or name.startswith("fc.")
    pixels = torch.from_numpy(lab.training.train.images.store.pixels[:32]).permute(0, 3, 1, 2).contiguous() / 255
    inputs, labels = (pixels - 0.5) / 0.5, lab.training.train.labels
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-4, fused=True)
    lab.run()
    for epoch in range(5):  # 2 full batches of 12 each, the third of 8 is dropped: ten steps
        seed = epoch_seed(0, epoch)
        torch.manual_seed(seed)
        plain.train()  # batch norm too, also when frozen
        order = training_order(32, 12, seed=seed, drop_last=True)
        assert [len(batch) for batch in order] == [12, 12]
        for positions in order:
            loss = nn.CrossEntropyLoss()(plain(inputs[positions]), labels[positions])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, tensor in lab.weights().items():
        assert torch.allclose(tensor, plain.net.state_dict()[name], atol=1e-6), name
    validation = lab.training.validation.images
    ours = softmax(predict_logits(lab.network, validation, lab.training.fabric))
    plain.eval()
    pixels = torch.from_numpy(validation.store.pixels[32:48]).permute(0, 3, 1, 2).contiguous() / 255
    with torch.no_grad():
        expected = torch.softmax(plain((pixels - 0.5) / 0.5).double(), 1).numpy()
    assert np.allclose(ours, expected, atol=1e-6)


def test_the_best_epoch_has_the_highest_accuracy_and_of_equal_ones_the_last(tmp_path):
    lab = Lab(tmp_path, recipe="earlier", epochs=5, image_size=32, batch_size=8)
    progress = lab.run()
    accuracies = [row["val_accuracy"] for row in progress.history]
    assert progress.best_epoch == max(range(5), key=lambda epoch: (accuracies[epoch], epoch))
    assert accuracies.count(max(accuracies)) > 1  # the tie that makes this a test


@pytest.mark.parametrize(("name", "count"), [("@earlier_torchvision", 35), ("@earlier_timm", 25)])
def test_the_model_lists_exist_in_the_libraries(name, count):
    assert len(find_models([name])) == count
    with pytest.raises(ModelError, match="did you mean @earlier_timm"):
        find_models(["@earlier_tim"])


@pytest.mark.parametrize(
    "name", ["alexnet", "googlenet", "efficientnet_b0", "swin_t", "timm:vgg11_bn", "timm:resnet18"]
)
def test_models_of_the_lists_build_train_a_step_and_predict(name):
    network, settings = earlier(name, image_size=64 if name != "swin_t" else 224, freeze=False)
    network.train_mode()
    size = network.preprocessing.image_size
    images = torch.randn(2, 3, size, size)
    optimizer = torch.optim.Adam(network.module.parameters(), lr=settings.learning_rate)
    loss = nn.CrossEntropyLoss()(network.module(images), torch.tensor([0, 1]))
    loss.backward()
    optimizer.step()
    network.module.eval()
    with torch.no_grad():
        assert network.module(images).isfinite().all()


def test_swapped_names_of_weights_are_recognised_and_a_pickle_needs_a_flag(tmp_path):
    network = timm_library().create_model("test_resnet", num_classes=2)
    torch.save(network, tmp_path / "best_model_weight.pth")
    torch.save(network.state_dict(), tmp_path / "best_model_all.pth")
    state = read_weights(tmp_path / "best_model_all.pth")
    with pytest.raises(ModelError, match="trust-pickle"):
        read_weights(tmp_path / "best_model_weight.pth")
    trusted = read_weights(tmp_path / "best_model_weight.pth", trust_pickle=True)
    assert all(torch.equal(state[name], trusted[name]) for name in state)


def test_its_transforms_file(tmp_path):
    path = tmp_path / "変換.py"
    path.write_text(
        "from PIL import Image\nimport numpy as np, torch\n"
        "def to_tensor(image):\n    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255\n"
        "small = lambda image: to_tensor(image.resize((32, 32)))\n"
        "use_transform = {'train': small, 'val': small}\n",
        encoding="utf-8",
    )
    assert set(load_transforms(path)) == {"train", "val"}
    path.write_text("train = None\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="train, val"):
        load_transforms(path)


@pytest.mark.parametrize("encoding", ["utf-8", "cp932"])
def test_its_tables_of_predictions_are_evaluated(tmp_path, encoding):
    path = tmp_path / "old_test.csv"
    rows = [
        rf"C:\画像\{number}.png,{'異常' if number % 3 else '正常'},{1 - number / 40},{number / 40}"
        for number in range(40)
    ]
    path.write_bytes(("path,correct_label,正常,異常\r\n" + "\r\n".join(rows) + "\r\n").encode(encoding))
    metrics = ma.analyze(path, positive="異常", out=tmp_path / "out")["test"]
    truth = np.arange(40) % 3 > 0
    from sklearn.metrics import roc_auc_score

    assert metrics["auc"]["value"] == pytest.approx(roc_auc_score(truth, np.arange(40) / 40), abs=1e-12)
    labelled = pd.read_csv(tmp_path / "out" / "out_test_p.csv")
    assert labelled["path"][0] == r"C:\画像\0.png"


@pytest.mark.parametrize("off", ["validation", "test", "train"])
def test_training_validation_and_test_can_each_be_off(off, two_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {
        "positive": "肺炎", "image_size": 32, "epochs": 1, "cache_folder": tmp_path / "cache", "tensorboard": False,
        "jobs": 0, "quiet": True, "keep_cache": False, "whole_model": True, "name": "run", off: False,
        "pretrained": off == "train",
    }  # fmt: skip
    if off == "train":
        torch.save(timm_library().create_model("test_resnet", num_classes=2).state_dict(), "w.pth")
        given["weights"] = "w.pth"
    run = ma.train(two_classes, "timm:test_resnet", **given)
    assert run.state == "finished", run.folder.failure_reason()
    names = {path.name for path in run.path.iterdir()}
    metrics = run.metrics()
    assert set(metrics) == {"val", "test"} - {{"validation": "val"}.get(off, off)}
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert ("run_test.csv" in names) == (off != "test")
    assert ("best_model_all.pth" in names) == (off not in ("validation", "train"))
    if off == "validation":
        assert metrics["test"]["cutoff"]["value"] == 0.5
        assert "no validation images" in metrics["test"]["cutoff"]["reason"]
    if off == "train":
        stored = torch.load(run.path / "last_model_weight.pth", weights_only=True)
        assert all(torch.equal(stored[name], tensor) for name, tensor in torch.load("w.pth").items())
    whole = torch.load(run.path / "last_model_all.pth", weights_only=False)
    assert isinstance(whole, nn.Module)


def test_neither_tested_nor_validated_is_finished_without_numbers(two_classes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = ma.train(
        two_classes, "timm:test_resnet", positive="肺炎", pretrained=False, image_size=32, epochs=1, name="run",
        tensorboard=False, jobs=0, cache_folder=tmp_path / "cache", quiet=True, test=False, validation=False,
    )  # fmt: skip
    assert (run.state, run.metrics()) == ("finished", {})
    assert ma.leaderboard("single", tmp_path / "log")["state"].tolist() == ["finished"]
