"""Keras reads KERAS_BACKEND when it is imported: each of its backends runs the same tests in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = ("numpy", "torch", "jax")
HELPERS = Path(__file__).parent / "helpers"


def run(backend, *arguments, cwd=None):
    for name in ("keras", backend):  # not imported: with TensorFlow, its default, Keras may not be importable
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}  # for keras.distribution
    environment = os.environ | {"KERAS_BACKEND": backend} | devices
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["keras_suite.py", "keras_models_suite.py"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on(backend, suite):
    told = run(backend, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", str(HELPERS / suite))
    assert " passed" in told


SAVE = """
import json, sys, keras
import arrayinit.keras as init
layers = [keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=init.GlorotUniform(seed=1, name="fc"))]
keras.Sequential(layers).save(sys.argv[1])
plain = [init.GlorotUniform(seed=1), init.Orthogonal(), init.initializer("kaiming_normal")]
configs = [keras.layers.Dense(3, kernel_initializer=one).get_config() for one in plain]
json.dump(configs, open(sys.argv[1] + ".json", "w"))
"""

LOAD = """
import json, sys, keras
def refused(load, *words):
    try:
        load()
    except TypeError as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError("loaded without arrayinit.keras")
refused(lambda: keras.saving.load_model(sys.argv[1]), "GlorotUniform", "import arrayinit.keras")
for config in json.load(open(sys.argv[1] + ".json")):  # not as Keras's initializer of the same name
    refused(lambda: keras.layers.Dense.from_config(config), "import arrayinit.keras")
    refused(lambda: keras.initializers.get(config["kernel_initializer"]), "import arrayinit.keras")
import arrayinit as ai, arrayinit.keras
for config in json.load(open(sys.argv[1] + ".json")):
    assert isinstance(keras.layers.Dense.from_config(config).kernel_initializer, arrayinit.keras.Initializer)
model = keras.saving.load_model(sys.argv[1])
kernel = keras.ops.convert_to_numpy(model.weights[0].value)
assert (kernel == ai.xavier_uniform((4, 3), seed=1, name="fc", layout="io")).all()
copy = keras.models.clone_model(model)
assert (keras.ops.convert_to_numpy(copy.weights[0].value) == kernel).all()
"""


@pytest.mark.slow
def test_a_model_goes_from_backend_to_backend(tmp_path):
    file = str(tmp_path / "model.keras")
    run("numpy", "-c", SAVE, file)
    run("torch", "-c", LOAD, file)
    run("jax", "-c", LOAD, file)
