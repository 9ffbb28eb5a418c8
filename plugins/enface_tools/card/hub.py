"""A trained network in the layout of the Hugging Face hub, and its upload."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
import yaml

import enface
from enface import is_offline
from enface.errors import EnfaceError
from enface.recipe.load import load_recipe
from enface.training import checkpoint
from enface_tools.card.card import PICTURE, Evaluated, card_text, read_evaluated
from enface_tools.evaluate.checkpoints import open_network

MODEL, CONFIG, RECIPE, CARD = "model.safetensors", "config.json", "recipe.yaml", "README.md"


@dataclass(frozen=True)
class Layout:
    """A folder to upload.

    Attributes:
        files: Names of its files.
        notes: Sentences that the user should read before others see the files.
    """

    folder: Path
    files: list[str]
    notes: list[str]


def write_layout(directory: Path, folder: Path, *, repo: str | None = None, pictures: bool = True) -> Layout:
    """Write the evaluated weights of a run, its recipe, its card and a picture.

    ``enface apply FOLDER IMAGES --checkpoint FOLDER/model.safetensors`` uses them.

    Args:
        folder: An empty or new folder, or one that holds an earlier layout.
        repo: ``OWNER/NAME`` on the hub, which the card names.
        pictures: Include the picture of the evaluation, which shows people.

    Raises:
        EnfaceError: if the run was not evaluated, or the folder holds other files or cannot be written.
    """
    run = read_evaluated(directory)
    _require_free(folder)
    source = run.folder / "grid.png"
    shown = pictures and source.is_file()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config = _write_weights(run, folder / MODEL)
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        recipe, shortened = without_folders(run.recipe.dump())
        (folder / RECIPE).write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
        (folder / CARD).write_text(card_text(run, picture=shown, repo=repo), encoding="utf-8")
        if shown:
            shutil.copyfile(source, folder / PICTURE)
        else:
            (folder / PICTURE).unlink(missing_ok=True)
    except OSError as error:
        raise EnfaceError(f"cannot write {folder} ({error.strerror or error})") from error
    notes = ["the card has no licence yet: choose one at the top of README.md"]
    if shown:
        notes.append(f"{PICTURE} shows people of the evaluation; --no-pictures leaves it out")
    if shortened:
        notes.append(f"folders are left out of {RECIPE}: {', '.join(shortened)}")
    files = [MODEL, CONFIG, RECIPE, CARD, *([PICTURE] if shown else [])]
    return Layout(folder, files, notes)


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise EnfaceError(f"{folder} is a file; name a folder with --out")
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    unknown = sorted(set(others) - {MODEL, CONFIG, RECIPE, CARD, PICTURE})
    if unknown:
        raise EnfaceError(f"{folder} holds other files ({', '.join(unknown[:3])}); name an empty folder with --out")


def _write_weights(run: Evaluated, path: Path) -> dict[str, Any]:
    """Write the evaluated weights alone, as a checkpoint; return the contents of ``config.json``."""
    loaded = load_recipe(run.directory)
    network, saved = open_network(loaded, run.directory, run.checkpoint, torch.device("cpu"), raw=not run.average)
    digest = checkpoint.digest(network)
    tensors = {f"generator/{name}": value for name, value in network.state_dict().items()}
    # Neither optimizers nor the names of people.
    state = {name: saved.state[name] for name in ("step", "stage", "data", "recipe")}
    checkpoint.save(path, tensors, state)
    data = run.recipe.data
    return {
        "library_name": "enface",
        "enface_version": enface.__version__,
        "architectures": [run.recipe.generator.use],
        "generator": run.recipe.dump()["generator"],
        "image_size": list(data.image_size),
        "channels": data.channels.model_dump(),
        "depth": data.depth,
        "fit": data.fit,
        "range": [-1, 1],
        "step": saved.state["step"],
        "weights": "average" if run.average else "plain",
        "digest": digest,
    }


def without_folders(recipe: Any, key: str = "") -> tuple[Any, list[str]]:
    """A recipe whose absolute paths are reduced to their last part, because folders name users and machines.

    Returns:
        The recipe, and the dotted keys that changed.
    """
    if isinstance(recipe, dict):
        pairs = {name: without_folders(value, f"{key}.{name}" if key else str(name)) for name, value in recipe.items()}
        return {name: value for name, (value, _) in pairs.items()}, [k for _, keys in pairs.values() for k in keys]
    if isinstance(recipe, list):
        items = [without_folders(value, f"{key}.{index}") for index, value in enumerate(recipe)]
        return [value for value, _ in items], [name for _, keys in items for name in keys]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(recipe, str) and kind(recipe).is_absolute():
            return kind(recipe).name, [key]
    return recipe, []


def require_hub(repo: str) -> Any:
    """Return the package ``huggingface_hub``.

    Raises:
        EnfaceError: if it is not installed, ``repo`` is not OWNER/NAME, or downloads and uploads are switched off.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise EnfaceError(f"--repo {repo}: name a repository as OWNER/NAME")
    if is_offline():
        raise EnfaceError("ENFACE_OFFLINE is set, so nothing is uploaded; unset it, or write a folder with --out")
    try:
        import huggingface_hub
    except ImportError as error:
        raise EnfaceError('enface push needs huggingface_hub: pip install "enface[hub]"') from error
    return huggingface_hub


def upload(layout: Layout, repo: str, *, private: bool = True) -> str:
    """Create a repository if it does not exist, and upload the files of a layout as one commit; return its address.

    Args:
        private: A new repository is private. An existing one stays as it is.

    Raises:
        EnfaceError: if the hub refuses, with its reason.
    """
    hub = require_hub(repo)
    api = hub.HfApi()
    try:
        created = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=str(layout.folder),
            allow_patterns=layout.files,
            commit_message="Upload from enface",
        )
    except Exception as error:
        first = str(error).strip().splitlines()
        raise EnfaceError(
            f"{repo} cannot be uploaded: {first[0] if first else type(error).__name__}; log in with: hf auth login"
        ) from error
    return str(created)
