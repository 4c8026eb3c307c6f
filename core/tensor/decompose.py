"""Factorizations and linear systems, over the last two axes.

Each is a loop over columns written out as a graph of some n steps, each of which is a few kernels: made
for the small matrices (up to a few dozen rows) that such compositions serve.
"""

from __future__ import annotations

from typing import Self

from ..dtype import default_float
from ..errors import ArgumentError, GradientError, ShapeError
from .elementwise import broadcast_shape
from .loss import Loss

SWEEPS = 12


class Decompose(Loss):
    """cholesky to svd."""

    __slots__ = ()

    def _matrix(self, what: str, square: bool = False) -> Self:
        if self.ndim < 2 or (square and self.shape[-1] != self.shape[-2]):
            raise ShapeError(f"{what} of {self.shape}: {'square matrices' if square else 'matrices'}")
        return self if self.dtype.is_float else self.cast(default_float)

    def _counted(self, n: int, column: bool) -> Self:
        i = self.arange(n, device=self.device)
        return i.unsqueeze(1) if column else i

    def cholesky(self, upper: bool = False) -> Self:
        """L with L·Lᵀ = self, of symmetric positive definite matrices; NaN where one is not."""
        a = self._matrix("cholesky", square=True)
        n = a.shape[-1]
        i = a._counted(n, column=True)
        columns = []
        for j in range(n):
            pivot = a.narrow(-1, j, 1)
            column = i.ge(j).where(pivot.div(pivot.narrow(-2, j, 1).sqrt()), 0.0).contiguous()
            columns.append(column)
            a = a.sub(column.mul(column.transpose(-2, -1))).contiguous()
        out = columns[0].cat(*columns[1:], dim=-1) if n else a
        return out.transpose(-2, -1) if upper else out

    def solve(self, other: Self) -> Self:
        """x with self·x = other (a vector, or columns), by elimination with row exchanges; inf or NaN if
        singular.
        """
        a = self._matrix("solve", square=True)
        n = a.shape[-1]
        vector = other.ndim == 1
        b = other.unsqueeze(-1) if vector else other
        if b.shape[-2] != n:
            raise ShapeError(f"solve of {self.shape} for {other.shape}: there must be {n} rows")
        a, b = a._agree(b)
        lead = a._lead(b)
        m = a.expand(*lead, n, n).cat(b.expand(*lead, n, b.shape[-1]), dim=-1)
        i = a._counted(n, column=True)
        for j in range(n):
            pivots = m.detach().narrow(-1, j, 1).abs()
            best = i.ge(j).where(pivots, -1.0).argmax(-2, keepdim=True)
            order = i.eq(j).where(best, i.eq(best).where(j, i)).contiguous()
            m = m.gather(-2, order.cast("int64").expand(m.shape)).contiguous()
            row = m.narrow(-2, j, 1).div(m.narrow(-2, j, 1).narrow(-1, j, 1)).contiguous()
            m = i.eq(j).where(row, m.sub(m.narrow(-1, j, 1).mul(row))).contiguous()
        x = m.narrow(-1, n, b.shape[-1])
        return x.squeeze(-1) if vector else x

    def _lead(self, other: Self) -> tuple[int, ...]:
        return broadcast_shape(self.shape[:-2], other.shape[:-2])

    def inverse(self) -> Self:
        """The inverse matrices; inf or NaN if singular."""
        a = self._matrix("inverse", square=True)
        return a.solve(a.eye(a.shape[-1], dtype=a.dtype, device=a.device))

    def qr(self, mode: str = "reduced") -> tuple[Self, Self]:
        """Q with orthonormal columns and upper triangular R, whose product is self (Householder 1958).

        Args:
            mode: "reduced": Q has as many columns as self has rows or columns, whichever is less; "complete":
                Q is square.
        """
        if mode not in ("reduced", "complete"):
            raise ArgumentError(f"qr mode {mode!r}: 'reduced' or 'complete'")
        r = self._matrix("qr")
        rows, cols = r.shape[-2:]
        k = min(rows, cols)
        q = r.eye(rows, dtype=r.dtype, device=r.device).expand(*r.shape[:-2], rows, rows)
        i = r._counted(rows, column=True)
        for j in range(min(rows - 1, cols)):
            x = i.ge(j).where(r.narrow(-1, j, 1), 0.0)
            head = x.narrow(-2, j, 1)
            size = x.mul(x).sum(-2, keepdim=True).sqrt()
            v = i.eq(j).where(head.add(size.copysign(head)), x)
            square = v.mul(v).sum(-2, keepdim=True)
            scale = square.gt(0).where(2.0, 0.0).div(square.gt(0).where(square, 1.0))
            v = v.contiguous()
            turn = scale.mul(v).contiguous()
            r = r.sub(turn.mul(v.mul(r).sum(-2, keepdim=True))).contiguous()
            across = v.transpose(-2, -1)
            q = q.sub(q.mul(across).sum(-1, keepdim=True).mul(turn.transpose(-2, -1))).contiguous()
        r = r.triu()
        return (q, r) if mode == "complete" else (q.narrow(-1, 0, k), r.narrow(-2, 0, k))

    def svd(self, full_matrices: bool = True) -> tuple[Self, Self, Self]:
        """U, S and Vh with self = U·diag(S)·Vh, S from the greatest down (one-sided Jacobi, Hestenes 1958).

        Raises:
            GradientError: of a tensor that requires a gradient: none passes through.
        """
        if self.requires_grad:
            raise GradientError("svd has no gradient: detach() the tensor")
        a = self._matrix("svd")
        rows, cols = a.shape[-2:]
        if rows < cols:
            u, s, vh = a.transpose(-2, -1).svd(full_matrices)
            return vh.transpose(-2, -1), s, u.transpose(-2, -1)
        u, v = a._rotated()
        s = u.mul(u).sum(-2).sqrt()
        order = s.argsort(-1, descending=True)[..., :cols].contiguous()
        s = s.gather(-1, order)
        index = order.unsqueeze(-2)
        u = u.gather(-1, index.expand(*u.shape[:-1], cols))
        v = v.narrow(-2, 0, cols).gather(-1, index.expand(*v.shape[:-2], cols, cols))
        u = u.div(s.gt(0).where(s, 1.0).unsqueeze(-2)).contiguous()
        if full_matrices and rows > cols:
            rest = u.qr("complete")[0].narrow(-1, cols, rows - cols)
            u = u.cat(rest, dim=-1)
        return u, s, v.transpose(-2, -1)

    def _rotated(self) -> tuple[Self, Self]:
        """self·V with orthogonal columns, and V: every pair of columns turned, in rounds of disjoint
        pairs.
        """
        cols = self.shape[-1]
        n = cols + cols % 2
        u = self.pad([*[None] * (self.ndim - 1), (0, n - cols)]).contiguous()
        v = self.eye(n, dtype=self.dtype, device=self.device).expand(*self.shape[:-2], n, n)
        half = n // 2
        # a tournament of two rows of seats: column 0 stays, the others move on one seat after each round
        seats = [0, half, *range(1, half - 1), *range(half + 1, n), half - 1] if half > 1 else [0, 1]
        for _ in range(SWEEPS * (n - 1)):
            p, q = u.narrow(-1, 0, half), u.narrow(-1, half, half)
            a, b, g = (x.mul(y).sum(-2, keepdim=True).contiguous() for x, y in ((p, p), (q, q), (p, q)))
            turned = g.ne(0)
            zeta = b.sub(a).div(turned.where(g.mul(2.0), 1.0))
            t = zeta.ge(0).where(1.0, -1.0).cast(u.dtype).div(zeta.abs().add(zeta.mul(zeta).add(1.0).sqrt()))
            t = turned.where(t, 0.0)
            c = t.mul(t).add(1.0).rsqrt().contiguous()
            s = c.mul(t).contiguous()
            u, v = (x._rotate(c, s, half)[..., seats].contiguous() for x in (u, v))
        return u, v

    def _rotate(self, c: Self, s: Self, half: int) -> Self:
        p, q = self.narrow(-1, 0, half), self.narrow(-1, half, half)
        return p.mul(c).sub(q.mul(s)).cat(p.mul(s).add(q.mul(c)), dim=-1)
