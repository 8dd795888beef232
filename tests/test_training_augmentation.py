"""Augmentation by name: against plain computations, drawn for each image, and the same when continued."""

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_speed_features import frozen_lab
from training_samples import LABELS, LOGITS, Lab, continues_alike, settings_for

from model_aggregation.config import make_settings
from model_aggregation.data.augmentation import EXACT_VIEWS, PER_IMAGE, augment
from model_aggregation.data.changes import CHANGES, PARAMETERS, change, draw_changes
from model_aggregation.data.image_store import ImageStore
from model_aggregation.data.loading import ChangedImages, StoredImages
from model_aggregation.errors import SettingsError
from model_aggregation.options import Augmentation
from model_aggregation.setting_values import AUGMENTATIONS
from model_aggregation.training import features as features_module
from model_aggregation.training.image_policies import ImagePolicy, change_of_single_images
from model_aggregation.training.job import LabelledImages
from model_aggregation.training.losses import make_loss
from model_aggregation.training.mixing import Mixing


def noise(count=6, channels=3, size=24):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, channels, size, size), dtype=np.uint8))


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def plainly_changed(image, parameters):
    """One image pixel by pixel: where each comes from, the four around that place, then brightness and contrast."""
    mirror, angle, side, right, down, brightness, contrast = map(float, parameters)
    pixels = image.numpy().astype(float)
    size = pixels.shape[1]
    result = np.empty_like(pixels)
    for row in range(size):
        for column in range(size):
            x, y = (column + 0.5) / size - 0.5, (row + 0.5) / size - 0.5
            x *= mirror
            x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
            x, y = side * x + right + 0.5, side * y + down + 0.5
            x, y = (min(max(place * size - 0.5, 0), size - 1) for place in (x, y))
            left, top = int(x), int(y)
            after, below = min(left + 1, size - 1), min(top + 1, size - 1)
            a, b = x - left, y - top
            upper = (1 - a) * pixels[:, top, left] + a * pixels[:, top, after]
            lower = (1 - a) * pixels[:, below, left] + a * pixels[:, below, after]
            result[:, row, column] = (1 - b) * upper + b * lower
    mean = result.mean()
    return np.clip(brightness * (mean + contrast * (result - mean)), 0, 255)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_changed_as_each_image_alone_pixel_by_pixel(name, channels):
    images = noise(channels=channels)
    parameters = draw_changes(len(images), name, drawn())
    changed = change(images, parameters)
    assert changed.dtype == torch.uint8
    for number, image in enumerate(images):
        assert np.abs(changed[number].numpy() - plainly_changed(image, parameters[number])).max() < 0.51
        assert torch.equal(changed[number : number + 1], change(images[number : number + 1], parameters[number, None]))
    assert torch.equal(augment(images, name, drawn()), changed)


def test_no_change_gives_the_same_pixels():
    images = noise()
    assert torch.equal(change(images, torch.tensor([[1.0, 0, 1, 0, 0, 1, 1]]).repeat(len(images), 1)), images)


def test_draws_keep_to_their_ranges_and_reach_them():
    mirror, angle, side, right, down, brightness, contrast = draw_changes(4000, "light", drawn()).numpy().T
    assert set(mirror) == {-1, 1}
    assert abs((mirror == 1).mean() - 0.5) < 0.05
    assert not angle.any()
    assert (side.min() ** 2, side.max() ** 2) == (pytest.approx(0.8, abs=0.01), pytest.approx(1, abs=0.01))
    assert (np.abs(right) + side / 2).max() <= 0.5 + 1e-6, "the window lies in the image"
    assert (np.abs(down) + side / 2).max() <= 0.5 + 1e-6
    for factor in (brightness, contrast):
        assert (factor.min(), factor.max()) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.01))
    mirror, angle, side, right, down, brightness, contrast = draw_changes(4000, "medical", drawn()).numpy().T
    assert set(mirror) == {1}
    for values, low, high in (
        (np.degrees(angle), -10, 10), (1 / side, 0.9, 1.1), (right, -0.05, 0.05), (down, -0.05, 0.05),
        (brightness, 0.9, 1.1), (contrast, 0.9, 1.1),
    ):  # fmt: skip
        assert low <= values.min() + 1e-6
        assert values.max() - 1e-6 <= high
        assert values.max() - values.min() > 0.99 * (high - low)
    assert abs(np.corrcoef(draw_changes(4000, "medical", drawn()).numpy()[:, 1:].T) - np.eye(6)).max() < 0.1


def test_every_name_is_explained_and_made_somewhere():
    assert tuple(AUGMENTATIONS) == get_args(Augmentation)
    assert {*EXACT_VIEWS, *CHANGES, *PER_IMAGE} == set(AUGMENTATIONS)


# --- one image at a time -----------------------------------------------------------------------------------


def changed_images(name, workers, channels=3):
    pixels = noise(8, channels).permute(0, 2, 3, 1).numpy()
    stored = StoredImages(ImageStore(pixels), np.arange(8))
    return ChangedImages(stored, change_of_single_images(name), workers)


@pytest.mark.parametrize("name", PER_IMAGE)
@pytest.mark.parametrize("channels", [1, 3])
def test_policies_of_single_images_draw_for_each_image_whoever_computes(name, channels):
    order = [np.array([3, 1, 1]), np.array([0, 2, 5, 7])]
    here = list(changed_images(name, 0, channels).batches(order, training=True, seed=4))
    there = list(changed_images(name, 2, channels).batches(order, training=True, seed=4))
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))
    assert [(tuple(batch.shape), batch.dtype) for batch in here] == [
        ((3, channels, 24, 24), torch.uint8), ((4, channels, 24, 24), torch.uint8)
    ]  # fmt: skip
    assert torch.equal(here[0][1], here[0][2]), "one image has one draw in an epoch, wherever it stands"
    again = list(changed_images(name, 0, channels).batches(order, training=True, seed=5))
    assert not all(torch.equal(one, other) for one, other in zip(here, again, strict=True))
    plain = torch.cat(list(changed_images(name, 0, channels).batches(order, training=False, seed=4)))
    assert torch.equal(plain, noise(8, channels)[np.concatenate(order)])


@pytest.mark.parametrize("name", PER_IMAGE)
def test_equal_images_are_changed_differently(name):
    pixels = noise(1).permute(0, 2, 3, 1).numpy()
    source = ChangedImages(StoredImages(ImageStore(pixels), np.zeros(8, int)), ImagePolicy(name), 0)
    batch = next(source.batches([np.arange(8)], training=True, seed=0))
    assert len({image.numpy().tobytes() for image in batch}) > 4


def test_a_policy_is_that_of_torchvision():
    from torchvision.transforms import InterpolationMode, v2

    image = noise(1)[0]
    theirs = v2.RandAugment(num_ops=2, magnitude=9, interpolation=InterpolationMode.BILINEAR)
    for seed in range(5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            expected = theirs(image)
            torch.manual_seed(seed)
            assert torch.equal(ImagePolicy("randaugment")(image), expected)


def test_a_worker_opens_the_file_of_a_store_itself(tmp_path):
    import pickle

    np.save(tmp_path / "画像.npy", noise(8).permute(0, 2, 3, 1).numpy())
    store = ImageStore(np.load(tmp_path / "画像.npy", mmap_mode="r"))
    text = pickle.dumps(StoredImages(store, np.arange(8)[::-1]).reader())
    assert len(text) < 1000
    assert torch.equal(pickle.loads(text)(2), noise(8)[5])


# --- mixing ------------------------------------------------------------------------------------------------


def mixed(mixup, cutmix, count=64):
    labels = torch.arange(count) % 3
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 16, 20) * 10  # each pixel says where it comes from
    mixing = Mixing(mixup, cutmix, 3, np.random.default_rng(0))
    return labels, *mixing(images, labels)


@pytest.mark.parametrize(("mixup", "cutmix"), [(1.0, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_classes_count_by_what_is_seen_of_them(mixup, cutmix):
    labels, images, shares = mixed(mixup, cutmix)
    assert torch.allclose(shares.sum(1), torch.ones(len(labels)))
    seen = images.mean(dim=(1, 2, 3))
    assert torch.allclose(seen, 10 * shares @ torch.arange(3.0), atol=1e-4)
    blended = [len(image.unique()) == 1 and share.max() < 1 for image, share in zip(images, shares, strict=True)]
    pasted = [len(image.unique()) == 2 for image in images]
    assert (any(blended), any(pasted)) == (mixup > 0, cutmix > 0)
    assert len(shares.max(dim=1).values.unique()) > 20, "each image has a share of its own"


def test_what_is_pasted_is_a_rectangle_of_another_image():
    images = torch.arange(64.0).view(-1, 1, 1, 1).expand(-1, 3, 16, 20)
    seen, shares = Mixing(0.0, 1.0, 64, np.random.default_rng(0))(images, torch.arange(64))
    for number, image in enumerate(seen):
        other = image[0] != number
        rows, columns = other.any(1).nonzero(), other.any(0).nonzero()
        assert other.sum() == len(rows) * len(columns)
        assert not len(rows) or rows.max() - rows.min() + 1 == len(rows)
        assert not len(columns) or columns.max() - columns.min() + 1 == len(columns)
        assert shares[number, number] == pytest.approx(1 - other.float().mean().item())
        assert (image == image[0]).all()


def test_shares_are_drawn_from_beta():
    from scipy.stats import beta, kstest

    labels = torch.arange(2000) % 2
    mixing = Mixing(0.4, 0.0, 2, np.random.default_rng(1))
    images = torch.arange(2000.0).view(-1, 1, 1, 1)
    _, shares = mixing(images, labels)
    own = shares[torch.arange(2000), labels]
    differs = own < 1
    assert kstest(own[differs].numpy(), beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("loss", ["cross_entropy", "bce_with_logits", "focal"])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 3.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_of_shares(loss, weights, smoothing):
    given = {"label_smoothing": smoothing} if loss == "cross_entropy" else {}
    measure = make_loss(settings_for(loss=loss, **given), weights)
    whole = F.one_hot(LABELS, 3).float()
    assert measure(LOGITS, whole) == pytest.approx(measure(LOGITS, LABELS).item(), rel=1e-6)
    others = LABELS[[1, 2, 0]]
    own = torch.tensor([0.3, 0.9, 0.5])
    total = weight = 0.0
    for number in range(3):
        for label, share in ((LABELS[number], own[number]), (others[number], 1 - own[number])):
            of_class = 1.0 if weights is None else weights[label].item()
            alone = measure(LOGITS[number, None], label[None]).item()  # the weight of one image alone cancels out
            total += share.item() * of_class * alone
            weight += share.item() * of_class
    shares = own[:, None] * whole + (1 - own[:, None]) * F.one_hot(others, 3)
    if weights is None or loss == "cross_entropy":
        assert measure(LOGITS, shares) == pytest.approx(total / weight, rel=1e-5)
    else:
        each = torch.stack(
            [make_loss(settings_for(loss=loss), None)(LOGITS[i, None], shares[i, None]) for i in range(3)]
        )
        of_images = shares @ weights
        assert measure(LOGITS, shares) == pytest.approx(((of_images * each).sum() / of_images.sum()).item(), rel=1e-6)


def test_what_cannot_be_mixed_is_refused():
    for loss in ("multi_margin", "cosine"):
        for given in ({"mixup": 0.2}, {"cutmix": 1.0}):
            with pytest.raises(SettingsError, match="need a loss that takes shares of classes"):
                settings_for(loss=loss, **given)
    with pytest.raises(SettingsError, match="mixup has an effect with train: true only"):
        make_settings(data="x", model="resnet18", mixup=0.2, train=False, weights="w.pth")
    with pytest.raises(SettingsError, match="augmentation has an effect with no transforms file only"):
        make_settings(data="x", model="resnet18", augmentation="medical", transforms="x.py")
    with pytest.raises(SettingsError, match="feature_views has an effect with"):
        make_settings(data="x", model="resnet18", augmentation="flips", feature_views=4)
    assert make_settings(data="x", model="resnet18", augmentation="light", feature_views=4).keeps_draws
    earlier = make_settings(data="x", model="resnet18", recipe="earlier")
    assert (earlier.augmentation, earlier.mixes) == ("flips", False)


# --- training ----------------------------------------------------------------------------------------------


def changing(lab):
    """A lab whose training images change as an experiment makes them."""
    change = change_of_single_images(lab.settings.augmentation)
    if change is not None:
        train = lab.training.train
        object.__setattr__(lab.training, "train", LabelledImages(ChangedImages(train.images, change, 0), train.labels))
    return lab


@pytest.mark.parametrize(
    "given",
    [{"augmentation": "light"}, {"augmentation": "medical", "mixup": 0.2}, {"augmentation": "trivial"},
     {"augmentation": "randaugment", "cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "drop_last": True}],
)  # fmt: skip
def test_a_training_that_continues_takes_the_same_steps(tmp_path, given):
    whole = continues_alike(
        lambda folder: changing(Lab(folder, epochs=3, **given)), tmp_path, stop_at="epoch 2/3 train"
    )
    said = sum("accuracy is that on mixed images" in line for line in whole.lines)
    assert said == (1 if whole.settings.mixes else 0)


@pytest.mark.parametrize("augmentation", ["light", "medical", "trivial"])
def test_features_of_draws_train_as_images_do(tmp_path, augmentation):
    given = {"augmentation": augmentation, "epochs": 4, "thaw_at": 3, "drop_last": True, "batch_size": 5}
    plain = changing(frozen_lab(tmp_path / "plain", cache_features=False, **given))
    stored = changing(frozen_lab(tmp_path / "stored", **given))
    history = plain.run().history
    for one, other in zip(history, stored.run().history, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    for name, tensor in plain.weights().items():
        assert torch.allclose(tensor.float(), stored.weights()[name].float(), atol=1e-5), name


@pytest.mark.parametrize("augmentation", ["light", "trivial"])
def test_so_many_draws_are_computed_and_no_more(tmp_path, monkeypatch, augmentation):
    lab = changing(frozen_lab(tmp_path, epochs=5, thaw_at=None, augmentation=augmentation, feature_views=2))
    computed = []
    forward = features_module.FrozenFeatures._compute

    def counted(self, file, images, views, positions, **more):
        if file is self.train:
            computed.append(len(file.missing(views, positions)[0]))
        return forward(self, file, images, views, positions, **more)

    monkeypatch.setattr(features_module.FrozenFeatures, "_compute", counted)
    lab.run()
    assert computed == [32, 32, 0, 0, 0]


def test_mixed_images_have_no_stored_features_and_it_is_said(tmp_path):
    lab = frozen_lab(tmp_path, mixup=0.2)
    lab.run()
    assert sum("mixup and cutmix mix images" in line for line in lab.lines) == 1


def test_parameters_are_as_many_as_said():
    assert draw_changes(3, "light", drawn()).shape == (3, PARAMETERS)
    assert draw_changes(0, "medical", drawn()).shape == (0, PARAMETERS)
