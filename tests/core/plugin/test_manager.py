"""Loading of plugins, and the errors of those that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from enface.errors import PluginError
from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins

LOSS = "class Mine(Loss):\n    def forward(self, output, target): return output - target\n"


def test_installed_plugins_are_loaded_by_entry_point():
    names = {name for name, _ in load_plugins().list_name_plugin()}
    assert {"components", "progress", "sample_grids", "tensorboard"} <= names


def test_a_file_provides_components(plugin):
    entry = Catalog(load_plugins([plugin(LOSS, brings="Mine")])).get("loss", "mine")
    assert entry.component.__name__ == "Mine"
    assert "mine.py" in entry.origin


def test_two_files_of_one_name_do_not_shadow_each_other(tmp_path, plugin):
    (tmp_path / "other").mkdir()
    first = plugin(LOSS, brings="Mine")
    second = plugin(LOSS.replace("Mine", "Other"), name="other/mine.py", brings="Other")
    assert {"mine", "other"} <= set(Catalog(load_plugins([first, second])).names("loss"))


def test_a_file_may_be_named_twice(plugin):
    file = plugin(LOSS, brings="Mine")
    assert "mine" in Catalog(load_plugins([file, file])).names("loss")


def test_a_syntax_error_is_reported_with_file_and_line(plugin):
    file = plugin("class Mine(Loss:\n    pass\n")
    with pytest.raises(PluginError) as caught:
        load_plugins([file])
    line = Path(file).read_text().splitlines().index("class Mine(Loss:") + 1
    assert file in str(caught.value)
    assert f"line {line}" in str(caught.value)


def test_a_file_that_failed_to_load_is_read_again_once_fixed(plugin):
    file = plugin("1 / 0\n")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load_plugins([file])
    plugin(LOSS, brings="Mine")
    assert "mine" in Catalog(load_plugins([file])).names("loss")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("@hookimpl\ndef componets():\n    return []\n", "componets"),
        ("@hookimpl\ndef step_ended(run, nonsense):\n    pass\n", "nonsense"),
        ("def components():\n    return []\n", "implements no hook"),
        ("raise RuntimeError('no licence')\n", "no licence"),
        ("import nothing_of_this_name\n", "nothing_of_this_name"),
    ],
    ids=["misspelt hook", "argument no hook has", "no hook", "raises", "missing import"],
)
def test_a_plugin_that_cannot_work_is_rejected(plugin, body, message):
    file = plugin(body)
    with pytest.raises(PluginError) as caught:
        load_plugins([file])
    assert message in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_missing_plugins_are_reported(tmp_path):
    with pytest.raises(PluginError, match=r"gone\.py does not exist"):
        load_plugins([str(tmp_path / "gone.py")])
    with pytest.raises(PluginError, match="no_such_module_here"):
        load_plugins(["no_such_module_here"])
