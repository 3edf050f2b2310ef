"""Handwritten digits, from the definition of a network to its use from a checkpoint, in plain JAX.

    pip install 'funcparams[examples]'
    python examples/digits.py

trains a small LeNet on scikit-learn's 1,797 scanned digits of 8 x 8 pixels, keeps a quarter of them
aside for the test, saves a checkpoint, reads it back, and draws what came of it. After each epoch
it saves where it stands: a run that was killed goes on with --resume, to the same bits.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import nn

try:
    import optax
    import orbax.checkpoint as ocp
    from matplotlib.figure import Figure
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from tqdm import tqdm
except ImportError as error:
    raise ImportError(
        f"examples/digits.py needs {error.name}: pip install 'funcparams[examples]'"
    ) from error


# 1. The model: definitions, which hold no arrays.


class Residual(fp.Module):
    """y = x + relu(conv(x))."""

    def __init__(self, channels: int):
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + jax.nn.relu(self.conv(x))


class LeNet(fp.Module):
    """LeNet's plan, convolutions and pooling before linear layers, with what came after 1998."""

    def __init__(self, channels: int = 32, rate: float = 0.4):
        # One object in two places is one block: its weights are stored, trained and saved once.
        # The norms stay outside, since the two places have different means to keep.
        shared = Residual(channels)
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 5, padding=2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.body = nn.Sequential(
            shared, nn.BatchNorm2d(channels), nn.MaxPool2d(2), shared, nn.BatchNorm2d(channels)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * channels, 128), nn.ReLU(),
            nn.Dropout(rate), nn.Linear(128, 10),
        )  # fmt: skip

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.body(self.stem(x)))


# 2. The data.


def load() -> list[np.ndarray]:
    """Give training images, test images, training labels and test labels."""
    digits = load_digits()
    images = digits.images[:, None].astype(np.float32) / 16  # (N, 1, 8, 8), as PyTorch has it
    # The split is the same for every --seed, so that the accuracies of all runs compare.
    return train_test_split(
        images, digits.target, test_size=0.25, stratify=digits.target, random_state=0
    )


def shifted(key: jax.Array, images: jax.Array) -> jax.Array:
    """Move each image by up to one pixel, each way: 1,347 images are few."""
    padded = jnp.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    corners = jax.random.randint(key, (len(images), 2), 0, 3)
    cut = functools.partial(jax.lax.dynamic_slice, slice_sizes=images.shape[1:])
    return jax.vmap(lambda image, corner: cut(image, (0, *corner)))(padded, corners)


# 3. Training: a loop of one's own around one jitted function.


def train(
    model: LeNet, images: np.ndarray, labels: np.ndarray, args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """Give params, state, and the losses (epochs, steps)."""
    epochs = args.epochs
    init_key, train_key = jax.random.split(jax.random.key(args.seed))
    params, state = model.init(init_key), model.init_state()

    # Two trees of one structure with None in the holes. Gradients and the optimizer see `tuned`
    # alone, so nothing moves what is frozen, not even weight decay. (The stem's random filters do
    # well enough. With pretrained ones, these lines would be the same.)
    if args.freeze:
        frozen, tuned = fp.partition(params, "stem.**")
    else:
        tuned, frozen = fp.partition(params, "**")

    batch = 64
    steps = len(images) // batch
    optimizer = optax.adamw(
        optax.cosine_onecycle_schedule(epochs * steps, peak_value=4e-3),
        weight_decay=0.02,
        # Weights have several axes; biases and the scales of norms have one, and do not decay.
        mask=lambda tree: fp.mask(tree, lambda name, array: array.ndim > 1),
    )
    opt_state = optimizer.init(tuned)

    # Donated arrays lend their memory to the results: the old ones are gone after the call.
    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(tuned, state, opt_state, frozen, images, labels, key):
        shift_key, call_key = jax.random.split(key)
        images = shifted(shift_key, images)

        def loss_of(tuned):
            params = fp.combine(tuned, frozen)
            logits, new_state = model.apply_with_state(
                params, state, images, key=call_key, training=True
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, (new_state, (logits.argmax(-1) == labels).mean())

        (loss, (new_state, accuracy)), grads = jax.value_and_grad(loss_of, has_aux=True)(tuned)
        updates, opt_state = optimizer.update(grads, opt_state, tuned)
        tuned = optax.apply_updates(tuned, updates)
        return tuned, new_state, opt_state, jnp.stack([loss, accuracy])

    losses = np.full((epochs, steps), np.nan, np.float32)
    run = tuned, state, opt_state, losses  # all that changes from epoch to epoch
    begun = {"seed": args.seed, "epochs": epochs, "freeze": args.freeze}
    with manager(args) as kept:
        first, run = resumed(kept, begun, run)
        for epoch in (bar := tqdm(range(first, epochs), initial=first, total=epochs, unit="epoch")):
            tuned, state, opt_state, losses = run
            # Order and keys come of the numbers of epoch and step: a resumed run has the same.
            order = np.random.default_rng([args.seed, epoch]).permutation(len(images))
            metrics: list[jax.Array] = []
            for index, rows in enumerate(order[: steps * batch].reshape(steps, batch)):
                key = jax.random.fold_in(train_key, epoch * steps + index)
                tuned, state, opt_state, measured = step(
                    tuned, state, opt_state, frozen, images[rows], labels[rows], key
                )
                metrics.append(measured)
            # To print a number is to wait for it: once an epoch, not once a step.
            losses[epoch], accuracies = np.array(metrics).T
            loss, accuracy = losses[epoch].mean(), accuracies.mean()
            bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.2%}")
            run = tuned, state, opt_state, losses
            save = ocp.args.Composite(
                run=ocp.args.StandardSave(run), begun=ocp.args.JsonSave(begun)
            )
            kept.save(epoch + 1, args=save)
    tuned, state, _, losses = run
    return fp.combine(tuned, frozen), state, losses


def manager(args: argparse.Namespace) -> ocp.CheckpointManager:
    """Open the folder of the run's checkpoints; without --resume what is in it is deleted."""
    folder = (args.out / "training").resolve()
    if not args.resume:
        shutil.rmtree(folder, ignore_errors=True)
    # Not in the background: the arrays that are written are lent to the next step.
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder, options=options)


def resumed(kept: ocp.CheckpointManager, begun: dict[str, Any], run: Any) -> tuple[int, Any]:
    """Give how many epochs are done, and where the run stands after them."""
    done = kept.latest_step()
    if done is None:
        return 0, run
    before = kept.restore(done, args=ocp.args.Composite(begun=ocp.args.JsonRestore()))["begun"]
    if before != begun:
        raise SystemExit(f"--resume: the run was begun with {before}, and is now given {begun}")
    restore = ocp.args.Composite(run=ocp.args.StandardRestore(jax.tree.map(np.asarray, run)))
    tuned, state, opt_state, losses = kept.restore(done, args=restore)["run"]
    return done, (*jax.tree.map(jnp.asarray, (tuned, state, opt_state)), np.array(losses))


# 4. The picture.


def draw(path: Path, losses: Any, filters: Any, images: Any, labels: Any, guesses: Any) -> None:
    """Draw the losses (epochs, steps), the first filters, and test images with their answers."""
    red, dark, light = "#c1121f", "#0b4f8a", "#9ec5e8"
    title, bare = {"x": 0.02, "ha": "left", "fontweight": "bold"}, {"xticks": [], "yticks": []}
    figure = Figure(figsize=(13, 7.4), layout="constrained", dpi=130)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1), wspace=0.03)
    top, bottom = left.subfigures(2, 1, height_ratios=(1.2, 1), hspace=0.03)

    top.suptitle("Training loss", **title)
    axes, epochs = top.subplots(), len(losses)
    time = np.linspace(0, epochs, losses.size, endpoint=False)
    axes.plot(time, losses.ravel(), color=light, linewidth=0.8, label="each step")
    axes.plot(np.arange(epochs) + 0.5, losses.mean(1), ".-", color=dark, label="mean of an epoch")
    axes.set(yscale="log", xlabel="epoch", ylabel="cross-entropy", xlim=(0, epochs))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)

    bottom.suptitle("First filters (red: positive, blue: negative)", **title)
    limit = np.abs(filters).max()
    for axes, kernel in zip(bottom.subplots(4, 8, subplot_kw=bare).flat, filters, strict=True):
        axes.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.spines[:].set_color("#dddddd")

    wrong = guesses != labels
    right.suptitle(f"Answers to test images ({wrong.sum()} of {len(labels)} wrong)", **title)
    order = np.argsort(~wrong, kind="stable")  # the wrong ones first: they are what one looks for
    for axes, index in zip(right.subplots(7, 8, subplot_kw=bare).flat, order, strict=False):
        bad = wrong[index]
        answer = f"{guesses[index]}, not {labels[index]}" if bad else f"{guesses[index]}"
        axes.imshow(images[index, 0], cmap="gray_r")
        axes.set_title(answer, fontsize=10, pad=3, color=red if bad else "#333333")
        axes.spines[:].set(color=red if bad else "#dddddd", linewidth=2 if bad else 1)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.2)


# 5. The program.


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small LeNet on scikit-learn's digits.")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, dropout [0]")
    parser.add_argument("--epochs", type=int, default=30, help="how often to see all images [30]")
    parser.add_argument("--out", type=Path, default="out", help="where to write [out]")
    parser.add_argument("--freeze", action="store_true", help="leave the stem as it was drawn")
    parser.add_argument("--resume", action="store_true", help="go on where a killed run stood")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"argument --seed: expected 0 to {2**32 - 1}, got {args.seed}")
    if args.epochs < 1:
        parser.error(f"argument --epochs: expected at least 1, got {args.epochs}")
    try:  # now, rather than after the training
        args.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.out).close()
    except OSError as error:
        parser.error(f"argument --out: cannot write to {args.out}: {error.strerror}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    model = LeNet()
    print(fp.summary(model))  # from the declarations alone: no array exists yet

    images, test_images, labels, test_labels = load()
    params, state, losses = train(model, images, labels, args)

    # Inference is the same pure function: `training` is False where nothing is said.
    logits = jax.jit(model.apply)(params, test_images, state=state)
    guesses = np.asarray(logits.argmax(-1))
    print(f"test accuracy, trained:  {np.mean(guesses == test_labels):.2%}")

    # Params and state are plain trees, which orbax saves as they are. To read them back it needs
    # shapes and dtypes, which the definition knows.
    checkpoint = (args.out / "digits").resolve()
    target = {"params": model.abstract(), "state": model.abstract_state()}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(checkpoint, {"params": params, "state": state}, force=True)
        checkpointer.wait_until_finished()
        saved = checkpointer.restore(checkpoint, target)
    again = jax.jit(model.apply)(saved["params"], test_images, state=saved["state"])
    print(f"test accuracy, restored: {np.mean(again.argmax(-1) == test_labels):.2%}")
    if not np.array_equal(logits, again):
        raise SystemExit("the restored network gives other numbers than the one that was saved")

    filters = np.squeeze(params["stem"]["0"]["weight"])  # of one input channel
    draw(args.out / "digits.png", losses, filters, test_images, test_labels, guesses)
    print(f"wrote {args.out / 'digits.png'} and the checkpoint {args.out / 'digits'}")


if __name__ == "__main__":
    main()
