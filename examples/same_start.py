"""Train one MLP in torch and in Flax from the same weights, which come from a seed and not from a checkpoint.

    pip install ".[torch,jax]" flax optax scikit-learn matplotlib
    python examples/same_start.py --seed 0 --plot curves.png

torch stores a linear layer's weight as (out, in), Flax its kernel as (in, out). With the layout "oi" or "io", the same
seed and name give each connection the same number, so weight and kernel are transposes of each other, bit for bit.
Training then differs by rounding errors only. This tests a port of a model: if the loss curves differ by more, the
models differ. (For comparison, a third run starts from the next seed.)

The data are the 1797 handwritten digits that come with scikit-learn; nothing is downloaded.
"""

import argparse

import flax.linen as fnn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import arrayinit as ai

LAYERS = {"hidden1": 64, "hidden2": 32, "output": 10}  # name: width
STEPS, RATE, MOMENTUM = 100, 0.1, 0.9
TOLERANCE = 1e-5  # on the loss. Rounding a number near 2 costs 1e-7; another order of summation adds a few such errors


class TorchMLP(torch.nn.Module):
    """Linear layers with tanh between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name, out in LAYERS.items():
            self.add_module(name, torch.nn.Linear(width, out))
            width = out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.hidden2(self.hidden1(x).tanh()).tanh())


class FlaxMLP(fnn.Module):
    """The same network in Flax."""

    @fnn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden1, hidden2, output = (fnn.Dense(out, name=name) for name, out in LAYERS.items())
        return output(jnp.tanh(hidden2(jnp.tanh(hidden1(x)))))


def start_torch(width: int, seed: int) -> TorchMLP:
    """A model with drawn weights, named "hidden1.weight" and so on."""
    model = TorchMLP(width)
    for name in LAYERS:
        layer = model.get_submodule(name)
        ai.xavier_uniform_(layer.weight, seed=seed, name=f"{name}.weight", layout="oi")
        ai.zeros_(layer.bias)
    return model


def start_flax(width: int, seed: int) -> dict:
    """Parameters for FlaxMLP. The model's initializers give the shapes only and draw nothing."""
    params = jax.eval_shape(FlaxMLP().init, jax.random.key(0), jnp.zeros((1, width)))["params"]
    return {
        name: {
            # The same name as in torch, because the name selects the draw.
            "kernel": ai.xavier_uniform(layer["kernel"], seed=seed, name=f"{name}.weight", layout="io"),
            "bias": ai.zeros(layer["bias"]),
        }
        for name, layer in params.items()
    }


def train_torch(model: TorchMLP, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Losses of full-batch gradient descent with momentum."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    losses = []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_flax(params: dict, x: np.ndarray, y: np.ndarray) -> tuple[dict, list[float]]:
    """The trained parameters and the losses of the same procedure."""
    optimizer = optax.sgd(RATE, MOMENTUM)

    def loss_of(params: dict) -> jax.Array:
        logits = FlaxMLP().apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def step(params: dict, state: optax.OptState) -> tuple[dict, optax.OptState, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(STEPS):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    return params, losses


def plot(path: str, in_torch: list[float], in_flax: list[float], other: list[float], seed: int) -> None:
    """Plot the loss curves, and their differences below."""
    import matplotlib

    matplotlib.use("Agg")  # writes files without a display
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6.5), sharex=True, layout="constrained")
    above.plot(in_torch, color="tab:orange", lw=6, alpha=0.5, label=f"torch, seed {seed}")
    above.plot(in_flax, color="tab:blue", lw=1.5, ls="--", label=f"Flax, seed {seed}")
    above.plot(other, color="0.4", lw=1, label=f"torch, seed {seed + 1}")
    above.set(ylabel="training loss", title="One MLP on the digits, the same start in two frameworks", yscale="log")
    above.legend(frameon=False)
    below.plot(np.abs(np.subtract(other, in_torch)), color="0.4", lw=1, label="two seeds, one framework")
    # Dots, because many differences are exactly 0, which a logarithmic axis can't show.
    below.plot(
        np.abs(np.subtract(in_flax, in_torch)), ".", color="tab:blue", label="one seed, two frameworks (where not 0)"
    )
    below.axhline(TOLERANCE, color="black", lw=0.8, ls=":", label="tolerance")
    below.set(xlabel="step", ylabel="difference in loss", yscale="log", ylim=(1e-10, 1e2))
    below.legend(frameon=False, loc="upper right")
    figure.savefig(path, dpi=150)
    print(f"curves drawn in {path}")


def main() -> None:
    """Initialize, compare, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="draw the loss curves, e.g. in curves.png")
    arguments = parser.parse_args()
    seed = arguments.seed

    jax.config.update("jax_default_matmul_precision", "highest")  # otherwise JAX rounds products to TF32 on a GPU
    torch.set_num_threads(1)  # more threads are slower for such small matrices

    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(images, digits.target, test_size=0.25, random_state=0)

    model, params = start_torch(x.shape[1], seed), start_flax(x.shape[1], seed)
    print(f"{'fingerprint of':16}{'torch, oi':34}{'Flax, io':34}")
    for name in LAYERS:
        weight, kernel = model.get_submodule(name).weight, params[name]["kernel"]
        here, there = ai.fingerprint(weight, layout="oi"), ai.fingerprint(kernel, layout="io")
        print(f"{name:16}{here:34}{there:34}")
        assert here == there

    in_torch = train_torch(model, x, y)
    params, in_flax = train_flax(params, x, y)
    other = train_torch(start_torch(x.shape[1], seed + 1), x, y)

    print(f"\n{'step':>4}{'torch loss':>14}{'Flax loss':>14}{'difference':>14}")
    for step in [*range(0, STEPS, 10), STEPS - 1]:
        print(f"{step:4}{in_torch[step]:14.7f}{in_flax[step]:14.7f}{abs(in_torch[step] - in_flax[step]):14.1e}")
    apart = np.abs(np.subtract(in_torch, in_flax)).max()
    print(f"largest difference {apart:.1e} (tolerance {TOLERANCE:.0e}); ", end="")
    print(f"of two seeds in torch {np.abs(np.subtract(in_torch, other)).max():.1e}")

    with torch.no_grad():
        torch_right = (model(torch.from_numpy(x_test)).argmax(1).numpy() == y_test).mean()
    flax_right = (np.asarray(FlaxMLP().apply({"params": params}, x_test)).argmax(1) == y_test).mean()
    print(f"accuracy on {len(y_test)} held-out digits: torch {torch_right:.1%}, Flax {flax_right:.1%}")

    if arguments.plot:
        plot(arguments.plot, in_torch, in_flax, other, seed)
    assert apart < TOLERANCE, "the curves differ, so the two models are not the same"
    assert min(torch_right, flax_right) > 0.9, "the models have not learnt"


if __name__ == "__main__":
    main()
