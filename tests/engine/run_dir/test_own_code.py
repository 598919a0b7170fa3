import importlib
import sys

import pytest

from clusterfolio.engine.run_dir.own_code import own_code

FILES = {
    "my_encoder.py": "import torch\nimport helpers\nfrom nets import blocks\nclass Net:\n    pass\n",
    "helpers.py": "from clusterfolio import Decision\ndef lazily():\n    from deep.er import thing\n    import json\n",
    "nets/__init__.py": "from . import other\n",
    "nets/blocks.py": "from ..beyond import nothing\nfrom .layers import Layer\n",
    "nets/layers.py": "class Layer:\n    pass\n",
    "nets/other.py": "",
    "nets/unused.py": "",
    "deep/er/thing.py": "",
    "unused.py": "",
}

REACHED = ["deep.er.thing", "helpers", "my_encoder", "nets", "nets.blocks", "nets.layers", "nets.other"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] in ("my_encoder", "helpers", "nets", "deep")]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    return tmp_path


def test_a_class_and_all_that_it_imports_from_the_users_own_files_counts(folder):
    assert list(own_code(["my_encoder:Net"])) == REACHED
    assert not {"my_encoder", "helpers", "nets"} & set(sys.modules)  # read, not run
    assert own_code([]) == {}


@pytest.mark.parametrize("name", REACHED)
def test_a_change_in_any_of_them_is_a_change_of_that_one_alone(folder, name):
    before = own_code(["my_encoder:Net"])
    path = folder / f"{name.replace('.', '/')}.py"
    path = path if path.exists() else folder / name / "__init__.py"
    path.write_text(path.read_text() + "\n# changed\n")
    after = own_code(["my_encoder:Net"])
    assert [key for key in after if before[key] != after[key]] == [name]


def test_what_is_installed_is_left_out_unless_it_is_named():
    assert own_code(["json.decoder:JSONDecoder"]).keys() >= {"json", "json.decoder", "json.scanner"}
    assert "re" not in own_code(["json.decoder:JSONDecoder"])
    assert own_code(["clusterfolio.models.networks.vae:VariationalAutoencoder"]) == {}
