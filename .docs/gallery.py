"""A page for each initializer: a picture, its docstring, and a line for each framework, which is executed.

A Sphinx extension. It writes Markdown and pictures to `gallery/` in the source directory before the pages are read, and
changes no file whose content stays, so that a second build reads only what has changed. It does so in a process of its
own, because Sphinx forks later, and JAX, which the lines import, doesn't bear that.
"""

import contextlib
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import arrayinit as ai
from arrayinit.initializers import ALIASES, NAMES

GROUPS = {  # title -> its initializers, in the order of the page
    "Basic distributions": (
        "uniform", "normal", "trunc_normal", "truncated_normal", "distribution", "constant", "zeros", "ones",
    ),
    "Scaled by fans": (
        "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "lecun_uniform", "lecun_normal",
        "variance_scaling", "scaled_truncated_normal", "small_normal", "wang_normal", "siren",
    ),
    "Matrices and kernels": (
        "orthogonal", "delta_orthogonal", "spectral_orthogonal", "sparse", "eye", "identity", "dirac", "zero_hadamard",
        "bilinear", "icnr", "packed", "mimetic", "lora_orthogonal",
    ),
    "Biases": ("lstm_bias", "chrono", "prior_bias"),
    "State-space models and recurrences": (
        "hippo_legs", "s4d", "mamba_a_log", "mamba2_a_log", "mamba_dt_bias", "lru_nu_log", "lru_gamma_log",
    ),
    "Sequences": ("linspace", "sinusoidal"),
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """What a page shows: the shape of a weight, parameters as Python writes them, and what such a weight is."""

    shape: tuple[int, ...] = (96, 64)
    parameters: str = ""
    role: str = "matrix"  # or kernel, bias, other

    @property
    def call(self) -> str:
        """Shape and parameters, as in a call."""
        return ", ".join(filter(None, [str(self.shape), self.parameters]))


RELU, RING = 'nonlinearity="relu"', "r_min=0.9, r_max=0.999"
EXAMPLES = {
    "uniform": Example(parameters="a=-0.1, b=0.1"),
    "normal": Example(parameters="std=0.02"),
    "trunc_normal": Example(parameters="std=0.02, a=-0.04, b=0.04"),
    "truncated_normal": Example(parameters="std=0.02"),
    "distribution": Example(parameters='distribution="laplace", parameters=(0.0, 0.1)'),
    "constant": Example((64,), "val=0.1", "bias"),
    "zeros": Example((64,), role="bias"),
    "ones": Example((64,), role="other"),
    "kaiming_uniform": Example(parameters=RELU),
    "kaiming_normal": Example(parameters=RELU),
    "wang_normal": Example(parameters="layers=12"),
    "delta_orthogonal": Example((16, 8, 3, 3), role="kernel"),
    "dirac": Example((16, 8, 3, 3), role="kernel"),
    "bilinear": Example((8, 8, 4, 4), "groups=1", "other"),
    "icnr": Example((16, 8, 3, 3), role="kernel"),
    "packed": Example((3 * 32, 64), 'initializer=ai.spec("xavier_uniform"), blocks=3'),
    "mimetic": Example((64, 64), 'part="query", heads=4'),
    "lora_orthogonal": Example((8, 64), 'part="A"'),
    "sparse": Example(parameters="sparsity=0.9"),
    "lstm_bias": Example((4 * 16,), role="bias"),
    "chrono": Example((4 * 16,), "t_max=100.0", "bias"),
    "prior_bias": Example((64,), role="bias"),
    "hippo_legs": Example((64, 64), role="other"),
    "s4d": Example((4, 64), 'variant="real"', "other"),
    "mamba_a_log": Example((4, 16), role="other"),
    "mamba2_a_log": Example((64,), role="other"),
    "mamba_dt_bias": Example((64,), role="other"),
    "lru_nu_log": Example((64,), RING, "other"),
    "lru_gamma_log": Example((64,), RING, "other"),
    "linspace": Example((64,), "start=3.0, end=6.0", "bias"),
    "sinusoidal": Example((128, 64), role="other"),
}
LAYERS = {  # role -> a layer of Flax and of Keras for {} outputs, the argument that takes the initializer, its inputs
    "matrix": ("nn.Dense({}", "keras.layers.Dense({}", "kernel_init", (1, 64)),
    "kernel": ("nn.Conv({}, (3, 3)", "keras.layers.Conv2D({}, 3", "kernel_init", (1, 5, 5, 8)),
    "bias": ("nn.Dense({}", "keras.layers.Dense({}", "bias_init", (1, 64)),
}


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: _write_apart(Path(app.srcdir) / "gallery"))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _write_apart(folder: Path) -> None:
    subprocess.run([sys.executable, "-P", __file__, str(folder)], check=True)


def write(folder: Path) -> None:
    """Write all pages to a folder, and remove what another version left there."""
    listed = [name for names in GROUPS.values() for name in names]
    if sorted(listed) != sorted(NAMES):
        raise ValueError(f"the gallery must list each initializer once; it differs in {set(listed) ^ set(NAMES)}")
    written = {folder / "index.md"}
    folder.mkdir(exist_ok=True)
    _replace(folder / "index.md", _index())
    for name in NAMES:
        example = EXAMPLES.get(name, Example())
        picture, page = folder / f"{name}.png", folder / f"{name}.md"
        _replace(page, _page(name, example))
        _replace(picture, _picture(name, example))
        written |= {picture, page}
    for stale in set(folder.iterdir()) - written:
        stale.unlink()


def _replace(path: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def _first_sentence(name: str) -> str:
    return getattr(ai, name).__doc__.strip().splitlines()[0]


def _literal(text: str) -> str:
    """Text of a docstring as Markdown, in which * and _ mean themselves."""
    for role in (":func:", ":class:"):
        text = text.replace(role, "")
    return "".join(f"\\{c}" if c in "*_[]<>$" else c for c in text)


def _index() -> str:
    lines = [
        "# Gallery",
        "",
        f"All {len(NAMES)} initializers: a picture, the formula, where it is from, and a line for each framework.",
        "Each has a form with an underscore, such as `xavier_uniform_`, that fills an array in place.",
        "To choose one, see [Which initializer for what](../which-init.md).",
    ]
    for title, names in GROUPS.items():
        lines += ["", f"## {title}", "", "::::{grid} 1 2 3 3", ":gutter: 2", ":class-container: gallery", ""]
        for name in names:
            lines += [
                f":::{{grid-item-card}} {name}", f":link: {name}", ":link-type: doc", f":img-top: {name}.png", "",
                _literal(_first_sentence(name)), ":::", "",
            ]  # fmt: skip
        lines += ["::::"]
    pages = [name for names in GROUPS.values() for name in names]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def _page(name: str, example: Example) -> str:
    others = [f"`{alias}`" for alias, known in ALIASES.items() if known == name]
    also = [f"Also called {' and '.join(others)}.", ""] if others else []
    tabs = []
    for framework, code in _lines(name, example).items():
        _run(code, f"{name} in {framework}", LAYERS.get(example.role, (None,))[-1])
        tabs += [f":::{{tab-item}} {framework}", f":sync: {framework}", "```python", code, "```", ":::", ""]
    return "\n".join(
        [
            f"# {name}", "", *also,
            f"![A tensor drawn by {name}: its elements, and their histogram]({name}.png)", "",
            f"Left: a tensor of shape {example.shape}. Right: how its elements are distributed.", "",
            "## In your framework", "", "::::{tab-set}", ":sync-group: framework", "", *tabs, "::::", "",
            "## Reference", "", "```{eval-rst}", f".. autofunction:: arrayinit.{name}", "```", "",
        ]
    )  # fmt: skip


def _lines(name: str, example: Example) -> dict[str, str]:
    """A line for each framework, with the imports that it needs."""
    spec = f'"{name}"' if not example.parameters else f'ai.spec("{name}", {example.parameters})'
    uses = "import arrayinit as ai\n" if "ai." in example.parameters + spec else ""
    drawn = f"initializer({spec})"
    seed = ", seed=0" if _is_random(name, example) else ""
    in_place = ", ".join(filter(None, ["weight", example.parameters]))
    lines = {
        "NumPy": f"import arrayinit as ai\n\nw = ai.{name}({example.call}{seed})",
        "torch": "import arrayinit as ai\nimport torch\n\n"
        f"weight = torch.empty({example.shape})\nai.{name}_({in_place}{seed})",
        "a torch model": "import arrayinit as ai\nimport torch\nfrom arrayinit.torch import init_module_\n\n"
        f'model = torch.nn.ParameterDict({{"w": torch.empty({example.shape})}})\n'
        f'init_module_(model, {{"w": {spec}}}, seed=0)',
        "JAX": f'import arrayinit as ai\n\nw = ai.{name}({example.call}{seed}, xp="jax")',
    }
    if example.role not in LAYERS:
        flax, keras = f"w = arrayinit.jax.{drawn}(jax.random.key(0), {example.shape})", f"({example.shape})"
        lines["Flax"] = f"{uses}import arrayinit.jax\nimport jax\n\n{flax}"
        lines["Keras"] = f"{uses}import arrayinit.keras\n\nw = arrayinit.keras.{drawn}{keras}"
        return lines
    flax, keras, argument, _ = LAYERS[example.role]
    outputs = example.shape[0]
    flax, keras = flax.format(outputs), keras.format(outputs)
    lines["Flax"] = (
        f"{uses}import arrayinit.jax\nfrom flax import linen as nn\n\nlayer = {flax}, {argument}=arrayinit.jax.{drawn})"
    )
    lines["Keras"] = (
        f"{uses}import arrayinit.keras\nimport keras\n\nlayer = {keras}, {argument}ializer=arrayinit.keras.{drawn})"
    )
    return lines


def _is_random(name: str, example: Example) -> bool:
    space: dict[str, Any] = {"ai": ai}
    first, second = (eval(f"ai.{name}({example.call}, seed={seed})", space) for seed in (0, 1))
    return not np.array_equal(first, second)


def _run(code: str, where: str, inputs: Any) -> dict[str, Any]:
    """Execute a page's lines, and build the layer that they make: a page shows only what works."""
    space: dict[str, Any] = {}
    try:
        exec(compile(code, where, "exec"), space)
        layer = space.get("layer")
        if hasattr(layer, "build"):
            layer.build(inputs)
        elif layer is not None:
            import jax

            layer.init(jax.random.key(0), np.ones(inputs, np.float32))
    except Exception as error:
        raise RuntimeError(f"the lines on the gallery's page of {where} fail:\n{code}") from error
    return space


def _picture(name: str, example: Example) -> bytes:
    w = np.asarray(_run(_lines(name, example)["NumPy"], name, None)["w"], np.float64)
    figure = Figure(figsize=(6.4, 2.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    if w.ndim == 1:
        left.plot(w, ".", markersize=3, color="#2b5c8a")
        left.set_xlabel("element", fontsize=7)
    else:
        extent = float(np.abs(w).max()) or 1.0
        plane = _plane(w)
        shown = left.imshow(plane, cmap="RdBu", vmin=-extent, vmax=extent, aspect="auto", interpolation="nearest")
        figure.colorbar(shown, ax=left).ax.tick_params(labelsize=7)
    right.hist(w.ravel(), bins=41, color="#2b5c8a")
    right.locator_params(axis="x", nbins=5)
    right.set_yticks([])
    left.yaxis.get_major_locator().set_params(integer=w.ndim > 1)
    right.set_xlabel(f"std {w.std():.3g}", fontsize=8)
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    with contextlib.closing(io.BytesIO()) as buffer:
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()


def _plane(w: Any) -> Any:
    """A matrix as it is; the kernels of a convolution beside each other, out by in."""
    if w.ndim == 2:
        return w
    out, into, *kernel = w.shape
    return w.reshape(out, into, kernel[0], -1).transpose(0, 2, 1, 3).reshape(out * kernel[0], -1)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
