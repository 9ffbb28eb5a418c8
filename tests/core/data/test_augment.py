"""Random crops, shifts and flips: their draws, the pixels, and the labels of flipped images."""

from __future__ import annotations

import shutil
from dataclasses import replace

import kornia
import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.transforms import functional as vision

from enface.data.augment import Augment, CropFlip
from enface.data.batches import Batches, Cropper, gather_crops, sharpen
from enface.data.images import center_crop
from enface.data.pack import Pack
from enface.data.pairs import ROLES, BatchPlan
from enface.errors import DataError
from enface.recipe.models import AugmentModel, DataModel, FlipModel
from enface.training.checkpoint import digest, load as load_checkpoint
from enface_tools.packs.building import make_pack

CPU = torch.device("cpu")
ALL = list(ROLES)
# Quantiles of chi-square at 0.999, by degrees of freedom: seeds are fixed, so a test passes always or never.
CHI_SQUARE = {6: 22.46, 15: 37.70}


def augment(*, size=32, load_size=40, **changes):
    data = DataModel.model_validate({"use": "any", "size": size, "load_size": load_size})
    return Augment(AugmentModel.model_validate(changes), data, ROLES)


def same(first, second):
    return all(
        np.array_equal(getattr(first[role], name), getattr(second[role], name))
        for role in ROLES
        for name in ("top", "left", "flipped")
    )


def chi_square(values, kinds):
    """Return the chi-square statistic of counts against equal ones."""
    counts = np.bincount(values, minlength=kinds)
    assert len(counts) == kinds
    return float(((counts - len(values) / kinds) ** 2 / (len(values) / kinds)).sum())


# ------------------------------------------------------------------ draws

EVERYTHING = {"crop": {"images": ALL}, "shift": {"by": 3, "images": ALL}, "flip": {"mirror": {}, "share": []}}


def test_draws_are_a_function_of_seed_stage_and_step_alone():
    draws = augment(**EVERYTHING)
    wanted = draws.draw(3, 1, 5, 16)
    draws.draw(3, 1, 6, 16)
    np.random.seed(9)
    assert same(augment(**EVERYTHING).draw(3, 1, 5, 16), wanted)
    for other in ((4, 1, 5), (3, 0, 5), (3, 1, 6)):
        assert not same(draws.draw(*other, 16), wanted)


def test_each_image_of_a_batch_has_its_own_draw():
    drawn = augment(**EVERYTHING).draw(0, 0, 0, 64)
    for role in ROLES:
        crop = drawn[role]
        assert len(set(zip(crop.top.tolist(), crop.left.tolist(), crop.flipped.tolist(), strict=True))) > 32


def test_every_corner_is_as_likely_as_any_other():
    draws = augment(size=32, load_size=35, crop={"images": ["source"]})
    crops = [draws.draw(0, 0, step, 64)["source"] for step in range(100)]
    top, left = (np.concatenate([getattr(crop, name) for crop in crops]) for name in ("top", "left"))
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 3, 0, 3)
    assert chi_square(top * 4 + left, 16) < CHI_SQUARE[15]


def test_shifts_are_bounded_and_as_likely_one_way_as_another():
    draws = augment(load_size=32, shift={"by": 3, "images": ["source"]})
    crops = [draws.draw(0, 0, step, 64)["source"] for step in range(50)]
    for name in ("top", "left"):
        values = np.concatenate([getattr(crop, name) for crop in crops])
        assert (values.min(), values.max()) == (-3, 3)
        assert chi_square(values + 3, 7) < CHI_SQUARE[6]


def test_a_shift_is_added_to_a_crop():
    draws = augment(crop={"images": ["source"]}, shift={"by": 2, "images": ["source"]})
    crops = draws.draw(0, 0, 0, 4000)["source"]
    assert set(crops.top) == set(range(-2, 8 + 2 + 1))


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_images_are_flipped_with_the_given_chance(chance):
    flipped = augment(flip={"chance": chance, "mirror": {}}).draw(0, 0, 0, 10_000)["source"].flipped
    assert abs(flipped.mean() - chance) <= 4 * np.sqrt(chance * (1 - chance) / 10_000)


@pytest.mark.parametrize("kind", ["crop", "shift", "flip"])
def test_images_that_share_are_equal_and_the_others_differ(kind):
    more = {"crop": {}, "shift": {"by": 3}, "flip": {"mirror": {}}}[kind]
    drawn = augment(**{kind: {"images": ALL, "share": ["source", "target"], **more}}).draw(0, 0, 0, 64)
    source, target, partner = (np.stack([drawn[role].top, drawn[role].left, drawn[role].flipped]) for role in ROLES)
    assert np.array_equal(source, target)
    assert not np.array_equal(source, partner)
    drawn = augment(**{kind: {"images": ALL, "share": [], **more}}).draw(0, 0, 0, 64)
    seen = {(*drawn[role].top, *drawn[role].left, *drawn[role].flipped) for role in ROLES}
    assert len(seen) == 3, "without a share each draws for itself"


def test_images_that_are_not_changed_stay_in_the_middle_as_they_are():
    drawn = augment(
        load_size=41,
        crop={"images": ["source"]},
        shift={"by": 2, "images": ["source"]},
        flip={"images": ["source"], "share": [], "mirror": {}},
    ).draw(0, 0, 0, 64)
    for role in ("target", "partner"):
        assert set(drawn[role].top) == set(drawn[role].left) == {4}
        assert not drawn[role].flipped.any()
    assert drawn["source"].flipped.any()


def test_a_pair_without_a_partner_has_no_draw_for_one():
    data = DataModel.model_validate({"use": "any", "size": 32, "load_size": 40})
    draws = Augment(AugmentModel.model_validate(EVERYTHING), data, ROLES[:2])
    assert set(draws.draw(0, 0, 0, 4)) == {"source", "target"}


def test_nothing_is_drawn_by_default():
    assert not augment()
    assert not augment(crop=False, flip=False)
    assert augment(crop={})


# ------------------------------------------------------------------ pixels


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (6, 3, 11, 13), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


CROPS = CropFlip(np.array([0, 4, 2, 1, 3, 0]), np.array([6, 0, 3, 5, 2, 1]), np.arange(6) % 2 == 0)


def cropped(pixels, size, crop):
    """Crop images as on a device."""
    return gather_crops(pixels.permute(0, 2, 3, 1), np.arange(len(pixels)), (size, size), crop)


def by_kornia(pixels, crop, size):
    """Crop and flip each image alone by kornia."""
    images = []
    for image, top, left, flipped in zip(pixels, crop.top, crop.left, crop.flipped, strict=True):
        ends = ((left, top), (left + size - 1, top), (left + size - 1, top + size - 1), (left, top + size - 1))
        box = torch.tensor([ends], dtype=torch.int64)
        cut = kornia.geometry.transform.crop_by_indices(image[None].float(), box)
        images.append(kornia.geometry.transform.hflip(cut) if flipped else cut)
    return torch.cat(images)


def test_pixels_equal_those_of_a_known_crop_and_flip(pixels):
    shown = cropped(pixels, 7, CROPS)
    assert shown.dtype == torch.uint8
    assert torch.equal(shown.float(), by_kornia(pixels, CROPS, 7))
    for image, cut, top, left, flipped in zip(pixels, shown, CROPS.top, CROPS.left, CROPS.flipped, strict=True):
        wanted = vision.crop(image, int(top), int(left), 7, 7)
        assert torch.equal(cut, vision.hflip(wanted) if flipped else wanted)


def test_region_maps_are_cropped_like_their_images(pixels):
    maps, every = pixels[:, 0].numpy(), np.arange(len(pixels))
    assert np.array_equal(Cropper(maps, (7, 7))(every, CROPS), cropped(pixels, 7, CROPS)[:, 0])


def test_the_edge_is_repeated(pixels):
    crop = CropFlip(np.array([-3, 6, 0, -2, 5, 9]), np.array([8, -4, 0, -1, 7, 0]), np.zeros(6, bool))
    padded = np.pad(pixels.numpy(), ((0, 0), (0, 0), (9, 9), (9, 9)), mode="edge")
    for number, (cut, top, left) in enumerate(zip(cropped(pixels, 7, crop), crop.top + 9, crop.left + 9, strict=True)):
        assert np.array_equal(cut.numpy(), padded[number, :, top : top + 7, left : left + 7])


def test_slices_of_crops_give_slices_of_the_batch(pixels):
    whole = cropped(pixels, 7, CROPS)
    parts = [cropped(pixels[here], 7, CROPS[here]) for here in (slice(0, 2), slice(2, 5), slice(5, 6))]
    assert torch.equal(torch.cat(parts), whole)


BEYOND = CropFlip(np.array([-3, 6, 0, -2, 5, 9]), np.array([8, -4, 0, -1, 7, 0]), np.arange(6) % 3 == 0)


@pytest.mark.parametrize("crop", [None, CROPS, BEYOND], ids=["middle", "inside", "beyond"])
@pytest.mark.parametrize("planes", [slice(None), 0], ids=["images", "regions"])
def test_a_mapped_pack_gives_the_pixels_that_a_device_gives(pixels, tmp_path, crop, planes):
    np.save(tmp_path / "pack.npy", pixels[:, planes].numpy())
    mapped = np.load(tmp_path / "pack.npy", mmap_mode="r")
    rows = np.array([3, 0, 5, 3, 1, 2])
    shown = Cropper(mapped, (7, 7))(rows, crop)
    there = gather_crops(pixels.permute(0, 2, 3, 1), rows, (7, 7), crop)
    assert shown.dtype == np.uint8
    assert there.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(shown, there[:, planes].numpy())


@pytest.mark.parametrize("crop", [None, CROPS], ids=["middle", "inside"])
def test_images_of_16_bits_are_the_same_on_a_device(crop):
    images = np.random.default_rng(0).integers(0, 65536, (6, 4, 10, 9), np.uint16)
    rows = np.array([3, 0, 5, 3, 1, 2])
    there = gather_crops(torch.from_numpy(images).permute(0, 2, 3, 1), rows, (7, 7), crop)
    assert np.array_equal(Cropper(images, (7, 7))(rows, crop), there.numpy())


def test_an_empty_batch(pixels):
    nothing = np.zeros(0, np.int64)
    assert Cropper(pixels.numpy(), (7, 7))(nothing, CropFlip(nothing, nothing, nothing.astype(bool))).shape == (
        0,
        3,
        7,
        7,
    )


def test_every_pixel_value_is_scaled_exactly(load):
    images = np.arange(256, dtype=np.uint8).repeat(48).reshape(1, 3, 64, 64)
    pack = replace(make_pack(load().recipe, load().catalog), images=images)
    gathered = Batches(pack, ROLES, torch.device("cpu"), (64, 64)).gather("source", {"source": np.zeros(1, np.int64)})
    assert torch.equal(gathered, torch.from_numpy(images).float() / 127.5 - 1)


# ------------------------------------------------------------------ columns


@pytest.fixture
def pack(load):
    loaded = load({"data": {"load_size": 41}})
    return make_pack(loaded.recipe, loaded.catalog)


def rows_where(pack, **wanted):
    """Return the first row with the values at each place of the lists."""
    table = pack.table
    count = max(len(values) for values in wanted.values())
    keep = [
        np.logical_and.reduce([table[name] == values[number] for name, values in wanted.items()])
        for number in range(count)
    ]
    return np.array([np.flatnonzero(rows)[0] for rows in keep])


def centered(count, flipped):
    middle = np.full(count, 4)
    return CropFlip(middle, middle, np.array(flipped))


def test_the_default_is_the_middle(pack):
    columns = Batches(pack, ROLES, CPU, (32, 32))
    rows = dict.fromkeys(ROLES, np.array([3, 17]))
    wanted = torch.from_numpy(np.array(pack.images[[3, 17], :, 4:36, 4:36])).float() / 127.5 - 1
    assert torch.equal(columns.gather("source", rows), wanted)
    assert torch.equal(columns.gather("source", rows, {"source": centered(2, [False, False])}), wanted)
    regions = np.array(pack.regions[[3, 17], 4:36, 4:36]).astype(np.int64)
    assert torch.equal(columns.gather("partner_regions", rows), torch.from_numpy(regions))
    assert np.array_equal(center_crop(pack.images[[3, 17]], (32, 32)), pack.images[[3, 17], :, 4:36, 4:36])


def test_each_role_has_its_own_crops(pack):
    columns = Batches(pack, ROLES, CPU, (32, 32))
    rows = dict.fromkeys(ROLES, np.arange(8))
    crops = augment(load_size=41, **EVERYTHING).draw(0, 0, 0, 8)
    for role in ROLES:
        wanted = cropped(torch.from_numpy(np.array(pack.images[:8])), 32, crops[role])
        assert torch.equal(columns.gather(role, rows, crops), wanted.float() / 127.5 - 1)
        planes = np.repeat(pack.regions[:8, None], 3, axis=1)
        wanted = cropped(torch.from_numpy(planes), 32, crops[role])[:, 0]
        assert torch.equal(columns.gather(f"{role}_regions", rows, crops), wanted.long())


@pytest.mark.parametrize("crop", [None, {"source": centered(3, [True, False, True])}])
def test_the_memory_format_is_kept(pack, crop):
    rows = dict.fromkeys(ROLES, np.arange(3))
    last = Batches(pack, ROLES, CPU, (32, 32), channels_last=True).gather("source", rows, crop)
    first = Batches(pack, ROLES, CPU, (32, 32)).gather("source", rows, crop)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert first.is_contiguous()
    assert torch.equal(last, first)


@pytest.mark.parametrize("crop", [None, centered(3, [True, False, True])])
def test_a_pack_is_stored_channels_last(pack, crop):
    stored = np.load(pack.folder / "images.npy", mmap_mode="r")
    assert stored.shape == (len(pack.table), 41, 41, 3)
    assert np.array_equal(pack.images[5], stored[5].transpose(2, 0, 1))
    shown = Cropper(pack.images, (32, 32))(np.arange(3), crop)
    assert shown.shape == (3, 3, 32, 32)
    assert shown.transpose(0, 2, 3, 1).flags.c_contiguous


def test_labels_are_those_of_the_mirrored_image(pack):
    columns = Batches(pack, ROLES, CPU, (32, 32), mirror={"pose": "negate", "light": {0: 1, 1: 0}})
    source = rows_where(pack, pose=[-30, -30, 15, 0], light=[0, 0, 1, 1])
    rows, crops = dict.fromkeys(ROLES, source), {"source": centered(4, [True, False, True, True])}
    assert columns.gather("pose", rows, crops).tolist() == [30, -30, -15, 0]
    assert columns.gather("pose_class", rows, crops).tolist() == [4, 0, 1, 2]
    assert columns.gather("light", rows, crops).tolist() == [1, 0, 0, 0]
    assert columns.gather("light_class", rows, crops).tolist() == [1, 0, 0, 0]
    assert columns.gather("partner_pose", rows, crops).tolist() == [-30, -30, 15, 0], "the partner was not mirrored"
    assert columns.gather("identity_class", rows, crops).tolist() == [0, 0, 0, 0]


def test_same_columns_compare_the_labels_of_flipped_images(pack):
    columns = Batches(pack, ROLES, CPU, (32, 32), mirror={"pose": "negate"})
    source, partner = rows_where(pack, pose=[15, 15, 15, 15]), rows_where(pack, pose=[-15, 15, 15, -15])
    rows = {"source": source, "target": source, "partner": partner}
    crops = {"source": centered(4, [True, True, True, False]), "partner": centered(4, [False, False, True, False])}
    assert columns.gather("same_pose", rows, crops).tolist() == [1, 0, 1, 0]
    assert columns.gather("same_pose", rows).tolist() == [0, 1, 1, 0]
    assert columns.gather("same_identity", rows, crops).tolist() == [1, 1, 1, 1]


def test_a_column_of_text_is_mirrored_by_a_map(pack):
    columns = Batches(pack, ROLES, CPU, (32, 32), mirror={"identity": {"000": "002", "002": "000"}})
    rows = dict.fromkeys(ROLES, rows_where(pack, identity=["000", "002", "001"]))
    crops = {"source": centered(3, [True, True, True])}
    assert columns.gather("identity_class", rows, crops).tolist() == [2, 0, 1]
    assert columns.gather("same_identity", rows, crops).tolist() == [0, 0, 1]


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("keys", ["as typed", "as read back"])
def test_a_resolved_recipe_keeps_its_mirrors(pack, kind, keys):
    flip = FlipModel.model_validate({"mirror": {"light": {0: 1, 1: 0}}})
    if keys == "as read back":
        flip = FlipModel.model_validate(flip.model_dump(mode="json"))
    table = pack.table.assign(light=pack.table["light"].astype(kind))
    lights = Pack(pack.folder, pack.images, pack.regions, table, pack.info)
    rows = dict.fromkeys(ROLES, rows_where(pack, light=[0, 1]))
    columns = Batches(lights, ROLES, CPU, (32, 32), mirror=flip.mirror)
    assert columns.gather("light", rows, {"source": centered(2, [True, True])}).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("mirror", "says"),
    [
        ({"posse": "negate"}, r"augment\.flip\.mirror\.posse: no column 'posse' .*did you mean 'pose'\?"),
        ({"identity": "negate"}, r"augment\.flip\.mirror\.identity: the column is not numeric; give a map"),
        ({"light": {0: 7}}, r"augment\.flip\.mirror\.light: the mirror of 0 is 7, which the data does not have"),
        ({"light": "negate"}, r"augment\.flip\.mirror\.light: the mirror of 1 is -1, which the data does not have"),
    ],
)
def test_mirrored_labels_that_the_data_does_not_have(pack, mirror, says):
    with pytest.raises(DataError, match=says):
        Batches(pack, ROLES, CPU, (32, 32), mirror=mirror)


# ------------------------------------------------------------------ runs

RECIPE = {
    "data": {"load_size": 40},
    "augment": {
        "crop": {"images": ALL, "share": ["source", "target"]},
        "shift": {"by": 2},
        "flip": {"mirror": {"pose": "negate"}},
    },
    "generator": {"use": "unet", "width": 4, "depth": 3},
    "log": {"checkpoint": 2, "keep": 9},
}


def test_an_augmented_run_resumes_to_the_same_bits(new_trainer):
    whole = new_trainer(RECIPE, "whole")
    whole.train()
    cut = new_trainer(RECIPE, "cut")
    shutil.copy(whole.run.checkpoints / "step-00000004.safetensors", cut.run.checkpoints)
    cut.train(resume=True)
    assert digest(cut.network) == digest(whole.network)
    still = new_trainer({**RECIPE, "augment": {}}, "still")
    still.train()
    assert digest(still.network) != digest(whole.network)
    ends = [load_checkpoint(trainer.run.checkpoints / "step-00000006.safetensors").tensors for trainer in (whole, cut)]
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0]), "optimizers too"


def test_accumulation_and_processes_split_one_stream_of_augmented_images(new_trainer):
    trainer = new_trainer({**RECIPE, "stages": {"main": {"batch": 8, "accumulate": 2}}})
    stage = trainer.run.recipe.stages["main"]
    plan = BatchPlan(trainer._pairs, 8, 0, 0)
    crops = trainer._augment.draw(0, 0, 3, 8)
    names = ("source", "target", "partner", "pose_class", "same_pose", "partner_regions")
    whole = {name: trainer._columns.gather(name, plan.rows(3), crops) for name in names}
    assert not torch.equal(whole["source"], trainer._columns.gather("source", plan.rows(3)))

    class Spy:
        def active(self, step):
            return []

        def columns(self, phases):
            return names

        def __init__(self):
            self.seen = []

        def __call__(self, step, parts):
            self.seen += [part() for part in parts]
            return {}

    for processes in (1, 2):
        spy = Spy()
        for rank in range(processes):
            trainer.run.engine.rank, trainer.run.engine.processes = rank, processes
            trainer._one_step(spy, plan, stage, 3)
        trainer.run.engine.rank, trainer.run.engine.processes = 0, 1
        assert len(spy.seen) == 2 * processes
        # Parts with the same number are adjacent in the batch.
        parts = [spy.seen[rank * 2 + number] for number in range(2) for rank in range(processes)]
        for name in names:
            assert torch.equal(torch.cat([part[name] for part in parts]), whole[name]), name


def test_evaluation_and_samples_use_the_middle(new_trainer):
    from enface_tools.evaluate.evaluator import Evaluator, mean_target

    trainer = new_trainer(RECIPE)
    evaluator = Evaluator(trainer.run)
    seen = []
    evaluator.measure(lambda column: seen.append(column("source")) or {"output": column("source")})
    wanted = center_crop(trainer.run.pack.images[evaluator.rows["source"]], (32, 32))
    assert wanted.shape[-1] == 32 < trainer.run.pack.size[0]
    assert torch.equal(torch.cat(seen), torch.from_numpy(wanted).float() / 127.5 - 1)
    assert mean_target(trainer.run).shape == (3, 32, 32)
    shown = []
    trainer.run.notify = lambda hook, **arguments: (
        shown.append(arguments["images"]) if hook == "samples_ready" else None
    )
    trainer._show_samples(trainer._builder("main"))
    wanted = center_crop(trainer.run.pack.images[trainer._samples["source"]], (32, 32))
    assert torch.equal(shown[0]["source"], torch.from_numpy(wanted).float() / 127.5 - 1)


@pytest.mark.parametrize("changes", [{}, {"shift": {"by": 2}}, EVERYTHING])
def test_gathering_all_roles_together_equals_gathering_each_alone(new_trainer, changes):
    trainer = new_trainer({"augment": {**changes, "sharpen": 0.5}, "data": {"load_size": 40}})
    columns, rows = trainer._columns, BatchPlan(trainer._pairs, 6, 0, 0).rows(1)
    crops = trainer._augment.draw(0, 0, 1, 6) if trainer._augment else {}
    names = ["target", "source", "pose", "partner"]
    apart = columns.batch(names, rows, crops)
    # As if the pack were on a device.
    columns._resident = torch.from_numpy(np.array(trainer.run.pack.images.transpose(0, 2, 3, 1), order="C"))
    together = columns.batch(names, rows, crops)
    assert list(together) == names
    for name in names:
        assert torch.equal(together[name], apart[name]), name
        assert torch.equal(apart[name], columns.gather(name, rows, crops))


def test_targets_are_sharpened_in_training_only(new_trainer):
    from enface_tools.evaluate.evaluator import Evaluator

    content = {"augment": {"sharpen": 0.5}, "stages": {"main": {"batch": 4}}, "evaluation": {"self_pairs": True}}
    trainer = new_trainer(content)
    plan = BatchPlan(trainer._pairs, 4, 0, 0)
    rows = plan.rows(0)
    plain = {role: trainer._columns.gather(role, rows) for role in trainer._columns.roles}
    (part,) = trainer._parts(["source", "target"], plan, trainer.run.recipe.stages["main"], 0)
    trained = part()
    assert torch.equal(trained["source"], plain["source"])
    assert torch.equal(trained["target"], sharpen(plain["target"], 0.5))
    assert not torch.equal(trained["target"], plain["target"])
    # Evaluation and sample grids use the targets as they are.
    evaluator = Evaluator(trainer.run)
    assert float(evaluator.measure(lambda column: {"output": column("source")}).images["mae"].min()) == 0.0, (
        "a self-pair"
    )
    shown = []
    trainer.run.notify = lambda hook, **arguments: (
        shown.append(arguments["images"]) if hook == "samples_ready" else None
    )
    trainer._show_samples(trainer._builder("main"))
    assert torch.equal(shown[0]["target"], trainer._columns.gather("target", trainer._samples))


def test_sharpening_is_an_unsharp_mask_by_kornia():
    images = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5).contiguous(
        memory_format=torch.channels_last
    )
    wanted = kornia.filters.unsharp_mask(images, (5, 5), (1.0, 1.0)).clamp(-1, 1)
    sharpened = sharpen(images, 1.0)
    torch.testing.assert_close(sharpened, wanted, atol=1e-5, rtol=0)
    assert sharpened.is_contiguous(memory_format=torch.channels_last)
    flat = torch.full((1, 3, 8, 8), 0.3)
    torch.testing.assert_close(sharpen(flat, 2.0), flat)
    step = torch.cat([-torch.ones(1, 3, 8, 4), torch.ones(1, 3, 8, 4)], dim=-1)
    assert sharpen(step, 4.0).abs().max() == 1


@pytest.mark.parametrize("amount", [0, -0.1, 5, "much"])
def test_the_range_of_sharpen(load, amount):
    from enface.errors import RecipeError

    with pytest.raises(RecipeError, match=r"augment\.sharpen"):
        load({"augment": {"sharpen": amount}})
    assert load({"augment": {"sharpen": False}}).recipe.augment.sharpen is None


def test_a_pack_has_the_load_size(load):
    plain, roomy = (load({"data": {"load_size": size}}) for size in (None, 40))
    packs = [make_pack(loaded.recipe, loaded.catalog) for loaded in (plain, roomy)]
    assert [pack.size for pack in packs] == [(32, 32), (40, 40)]
    assert packs[0].folder != packs[1].folder
    assert isinstance(packs[1].table, pd.DataFrame)
    assert plain.recipe.training_digest() != roomy.recipe.training_digest()


def test_a_datasets_mirror_is_the_default(load, plugin):
    body = (
        "class Sided(Dataset):\n    '''Sided.'''\n    mirror = {'pose': 'negate'}\n"
        "    pairs = {'target': {'same': ['identity']}}\n"
        "    def rows(self): return []\n    def image(self, row): return None\n"
    )
    content = {"plugins": [plugin(body, brings="Sided")], "data": {"use": "sided", "size": 32}}
    assert load({**content, "augment": {"flip": {}}}).recipe.augment.flip.mirror == {"pose": "negate"}
    assert load({**content, "augment": {"flip": {"mirror": {}}}}).recipe.augment.flip.mirror == {}
    assert load({**content, "augment": {"flip": False}}).recipe.augment.flip is None
