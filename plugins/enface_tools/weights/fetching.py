"""Fetching pretrained weights: those that a recipe needs, before its data is packed, or any by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enface import is_offline
from enface.errors import WeightsError
from enface.plugin.manager import load_plugins
from enface.recipe.load import LoadedRecipe
from enface.system.cache import cache_folder
from enface.system.messages import Reporter
from enface.system.signals import raise_on_signals
from enface_tools.check.components import named_components

if TYPE_CHECKING:
    import pluggy

    from enface_plugins.pretrained import Weights


def known_weights(plugins: pluggy.PluginManager | None = None) -> dict[str, Weights]:
    """Return the pretrained weights that plugins declare, by name; default: those of installed plugins."""
    manager = plugins or load_plugins()
    return {item.name: item for items in manager.hook.weights() for item in items}


def fetch_needed(loaded: LoadedRecipe, kinds: Collection[str] | None, reporter: Reporter) -> None:
    """Fetch the missing weights of a recipe's components.

    If they cannot be fetched, a metric is unavailable later, with the reason; anything else cannot be built.

    Args:
        kinds: Kinds of components that will be built; default: all.

    Raises:
        WeightsError: if weights of a component other than a metric cannot be fetched; names file, line and key.
    """
    known = known_weights(loaded.plugins)
    missing: dict[str, tuple[str, tuple[str, ...]]] = {}
    for kind, path, spec in named_components(loaded.recipe):
        if kind not in loaded.catalog.kinds or (kinds is not None and kind not in kinds):
            continue
        for name in loaded.catalog.get(kind, spec.use).component.networks(spec.params):
            # A metric comes last, so that anything else that needs the weights is named.
            if name in known and known[name].find() is None:
                missing.setdefault(name, (kind, path))
    if not missing:
        return
    failures = {} if is_offline() else fetch_missing([known[name] for name in missing], reporter)
    for name, (kind, path) in missing.items():
        if kind != "metric" and known[name].find() is None:
            raise WeightsError(f"{loaded.place(path)}: {failures.get(name) or known[name].missing()}")


def fetch_missing(items: Sequence[Weights], reporter: Reporter) -> dict[str, str]:
    """Fetch weights that are not in the cache; report failures and return their reasons by name."""
    from enface_plugins.pretrained.weights import downloads_folder

    failures: dict[str, str] = {}
    try:
        with raise_on_signals(), downloads_folder() as downloads:
            # Another process may have fetched some while this one waited for its turn.
            for item in [item for item in items if item.find() is None]:
                if reason := _fetch(item, downloads, reporter):
                    failures[item.name] = reason
    except OSError as error:
        reason = f"{cache_folder() / 'weights'} cannot be written: {error.strerror or error}"
        reporter.say(reason)
        failures = {item.name: reason for item in items}
    return failures


def _fetch(item: Weights, downloads: Path, reporter: Reporter) -> str:
    """Fetch weights; return the reason if they cannot be fetched, else an empty text."""
    reporter.say(f"fetching the pretrained weights {item.name}: {item.about}")
    try:
        with reporter.progress(f"{item.name}, MiB") as progress:
            item.fetch(say=reporter.say, progress=progress, downloads=downloads)
    except WeightsError as error:
        reporter.say(str(error))
        return str(error)
    return ""
