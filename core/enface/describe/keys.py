"""What each key of a recipe means, in a sentence: an editor's help."""

from __future__ import annotations

from collections.abc import Mapping

_DRAW = {
    "images": "The images of a pair that are changed.",
    "share": "Those of `images` that share one draw; the others have their own.",
}

KEYS: Mapping[str, Mapping[str, str]] = {
    "Recipe": {
        "name": "The run's name; the file's unless given.",
        "plugins": "Plugin files (their paths from this file) and modules to load.",
        "seed": "What every random draw is derived from.",
        "data": "The dataset, the size of its images, and the split.",
        "pairs": "Which images may be sources, and how target and partner are drawn for one.",
        "augment": "Changes to a batch's images in training: random crops, shifts and flips, sharper targets.",
        "generator": "The network that makes the output.",
        "masks": "The masks, by the names that terms and metrics use.",
        "stages": "The stages, in the order they run.",
        "metrics": "What is measured: a list of names, or a map with parameters.",
        "engine": "Device, precision and exactness.",
        "log": "How often things are written, in steps; 0 is never.",
        "evaluation": "How the test is done.",
        "extends": "A recipe that this one changes; its path from this file.",
    },
    "AugmentModel": {
        "crop": "Show `data.size` pixels of the `data.load_size` at random.",
        "shift": "Move by some whole pixels, repeating the edge.",
        "flip": "Mirror left and right, and the labels with it.",
        "sharpen": "How much of its difference to its own blur is added to every target; in training alone.",
    },
    "DataModel": {
        "size": "Height and width of the images in pixels.",
        "load_size": "What images are packed at, which leaves room to crop; `size` unless given.",
        "split": "Which rows train, validate and test; a map, or the name of a split that the dataset knows.",
        "on_error": "Whether an unreadable image stops the packing (`raise`) or is left out (`skip`).",
    },
    "DiscriminatorModel": {
        "optimizer": "The critic's optimizer.",
        "every": "It learns at every such step, counted from `start_at`.",
        "start_at": "The step of the stage from which on it learns.",
        "augment": "What happens to the images it is shown, real and fake, for both players.",
        "inputs": "Arguments of its `forward`: the column of the batch each gets.",
    },
    "DrawModel": _DRAW,
    "ShiftModel": {**_DRAW, "by": "The most pixels each way."},
    "FlipModel": {
        **_DRAW,
        "chance": "Of being mirrored.",
        "mirror": "How labels change: `negate`, or a map from value to value, for each column; `{}` when none does.",
    },
    "EngineModel": {
        "device": "`auto` is a CUDA device where there is one.",
        "precision": "`auto` is bf16 on CUDA devices that have it, else float32.",
        "channels_last": "Keep images in the memory order that convolutions are fastest in.",
        "compile": "Compile the networks with `torch.compile`.",
        "deterministic": "The same bits at each run, at some cost in speed.",
        "sync_batchnorm": "Batch statistics over all processes rather than each one's own.",
    },
    "EvaluationModel": {
        "images": "The most test images, evenly spread; all unless given.",
        "batch": "Images at a time; by their size and the device unless given.",
        "bootstrap": "Resamples over identities for the intervals.",
        "stages": "Whether what every stage ended with is measured, too.",
        "pictures": "Whether pictures of all test images are kept for the report.",
        "regions": "Masks of the parts of an image that are measured by themselves, too.",
    },
    "LogModel": {
        "every": "Steps between entries of the log.",
        "samples": "Steps between grids of sample images; 0 is never.",
        "checkpoint": "Steps between checkpoints; 0 is only at a stage's end.",
        "keep": "How many of the latest checkpoints stay.",
        "keep_every": "Checkpoints at multiples of this many steps stay as well; 0 is none.",
        "validate": "Steps between measurements of the validation split; 0 is never.",
        "best": "The metric whose best validation value keeps its checkpoint.",
        "observers": "Names of the plugins that may watch; all unless given.",
    },
    "MetricModel": {"mask": "The mask that weighs the metric's map."},
    "OptimizerModel": {"lr": "Learning rate: a number, or a schedule over the stage's steps."},
    "PairRule": {
        "same": "Columns in which the two images agree.",
        "where": "Values a column may have.",
        "adjacent": "The column in which they lie one step apart.",
        "chance": "Of drawing so; else any image of the split is drawn.",
    },
    "PairsModel": {
        "source": "Which images may be sources (`where`).",
        "target": "How the target is drawn.",
        "partner": "How the second image of a Siamese pair is drawn.",
    },
    "SplitModel": {
        "by": "The column whose values are split; no value is in two parts.",
        "where": "Rows that do not satisfy it are in no part.",
        "train": "So many values, a share of them, or a list of those named (`001-054` is a range).",
        "val": "As `train`; from the values after those.",
        "test": "As `train`; all the rest unless given.",
    },
    "StageModel": {
        "steps": "Optimizer steps of the generator.",
        "batch": "Images an optimizer step sees, over all processes.",
        "accumulate": "Split the batch into so many passes, to save memory.",
        "optimizer": "The generator's optimizer.",
        "terms": "The losses, each a term by its name.",
        "discriminators": "The critics, by the names that terms are `against`.",
        "start": "The weights it starts from: `previous`, `scratch`, or a map.",
        "freeze": "Parts of the generator that do not learn in this stage.",
        "clip": "The largest gradient norm.",
        "ema": "Decay of the running average of the weights, which samples and evaluation use.",
    },
    "StartModel": {
        "run": "A run directory, or a folder of them, whose newest is meant.",
        "stage": "A stage of that run; without `run`, one of this recipe that is trained before.",
        "step": "Of the stage where that is given, else of the run; the last checkpoint's unless given.",
        "checkpoint": "A checkpoint file.",
        "parts": "Parts of the generator to load; all unless given.",
        "partial": "Load what fits, and leave the rest as it was.",
        "average": "Take the running average of the weights.",
    },
    "TermModel": {
        "weight": "What the term's mean is multiplied with: a number, or a schedule over the stage's steps.",
        "critic_weight": "The same for the critic's side of an adversarial loss.",
        "mask": "The mask, by its name in `masks`.",
        "mask_on": "Whether the mask weighs the `error` map, or the `images` before the loss sees them.",
        "against": "The discriminator it plays against, by its name in the stage.",
        "side": "`critic` makes an ordinary loss one that the discriminator minimises.",
        "every": "It counts at every such update of its player, so many times as heavy.",
        "start_at": "The step of the stage from which on it counts.",
        "inputs": "The loss's arguments: the name each gets instead, as `{logits: pose_logits}`.",
    },
}
"""By the recipe's models and their keys."""
