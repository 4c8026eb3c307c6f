"""Train a small convolutional network on real handwritten digits, on whatever device Portwright finds.

The digits come with scikit-learn: 1,797 of them, 8 × 8 pixels each. A fifth is held out, and only looked at
to measure.

    python examples/digits.py
    PORTWRIGHT_DEVICE=NUMPY python examples/digits.py    on the reference: the same numbers, minutes later
    DEBUG=2 python examples/digits.py                    with a line for each kernel that runs
"""

from __future__ import annotations

import sys
import time

import numpy as np
from sklearn.datasets import load_digits

from portwright import Device, Tensor, jit, nn

EPOCHS = 20
BATCH = 64
SEED = 0
WANTED = 0.97


class Network:
    """Two convolutions, each with half the resolution after it, and a linear layer."""

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.linear = nn.Linear(32 * 2 * 2, 10)

    def __call__(self, images: Tensor) -> Tensor:
        """Scores of the ten digits, (batch, 10), for images (batch, 1, 8, 8)."""
        x = self.conv1(images).relu().max_pool2d(2)
        x = self.conv2(x).relu().max_pool2d(2)
        return self.linear(x.flatten(1))


def main() -> int:
    images, digits = load_digits(return_X_y=True)
    images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    digits = digits.astype(np.int32)
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(images))
    held_out, kept = np.split(order, [len(order) // 5])
    print(f"{len(kept)} digits to learn from, {len(held_out)} held out; on {Device.default}.")
    print("The first step makes the kernels, the others run them.", flush=True)

    Tensor.manual_seed(SEED)
    network = Network()
    optimizer = nn.optim.Adam(nn.parameters(network), lr=8e-3)

    @jit
    def train(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = network(x).cross_entropy(y)
        loss.backward()
        optimizer.step(loss)
        return loss

    start = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        batches = rng.permutation(kept)[: len(kept) // BATCH * BATCH].reshape(-1, BATCH)
        losses = [train(Tensor(images[b]), Tensor(digits[b])).item() for b in batches]
        seconds = time.perf_counter() - start
        if epoch == 1 or not epoch % 4:
            print(f"  epoch {epoch:2}   loss {np.mean(losses):.3f}   {seconds:5.1f} s", flush=True)

    guesses = network(Tensor(images[held_out])).argmax(1).numpy()
    accuracy = (guesses == digits[held_out]).mean()
    print(f"{accuracy:.1%} of the held-out digits are read right (wanted: {WANTED:.0%})")
    return 0 if accuracy >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
