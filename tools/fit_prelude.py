"""Minimax polynomials of the CPU prelude's float32 functions: prints the coefficients found in src/kernel/emit/cpu_prelude.h.

Lawson's iteration (reweighted least squares) on a dense grid, in float64; the leading coefficients that the code
fixes (1, 1/2, ...) are taken out of the target first.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40


def fit(name, target, weight, lo, hi, degree, points=3000):
    """Polynomial p(t) of `degree` on [lo, hi] that minimises max |p - target| * weight."""
    k = np.arange(points)
    t = (lo + hi) / 2 + (hi - lo) / 2 * np.cos(np.pi * (k + 0.5) / points)
    y = np.array([float(target(mp.mpf(float(v)))) for v in t])
    w = np.array([float(weight(mp.mpf(float(v)))) for v in t])
    scale = max(abs(lo), abs(hi))
    basis = np.vander(t / scale, degree + 1, increasing=True)
    lawson = np.ones(points)
    best, best_error = None, np.inf
    for _ in range(60):
        s = np.sqrt(lawson) * w
        coef = np.linalg.lstsq(basis * s[:, None], y * s, rcond=None)[0]
        error = np.abs((basis @ coef - y) * w)
        if error.max() < best_error:
            best, best_error = coef, error.max()
        lawson = lawson * error
        lawson /= lawson.mean()
    coef = best / scale ** np.arange(degree + 1)
    print(f"{name}: max weighted error {best_error:.3g} ({best_error * 2**24:.3f} half-ulps)")
    print("  " + ", ".join(f"{float(np.float32(c)):.9g}f" for c in coef))


def series(f, direct, order, small=mp.mpf("1e-3")):
    """direct(x), by Taylor's series of f near 0 where the direct form cancels."""
    coef = mp.taylor(f, 0, order + 12)[order:]
    return lambda x: mp.polyval(coef[::-1], x) if abs(x) < small else direct(x)


h = float(mp.log(2) / 2)
fit("exp (r^2 q)", series(mp.exp, lambda r: (mp.exp(r) - 1 - r) / r**2, 2), lambda r: r**2, -h - 1e-3, h + 1e-3, 4)
fit("expm1 (r^2 q)", series(mp.exp, lambda r: (mp.exp(r) - 1 - r) / r**2, 2), lambda r: abs(r), -h - 1e-3, h + 1e-3, 5)
ln2 = mp.log(2)
fit("exp2 (r q)", series(lambda r: mp.power(2, r), lambda r: (mp.power(2, r) - 1) / r, 1), lambda r: abs(r), -0.5, 0.5, 5)
g = series(lambda f: mp.log(1 + f), lambda f: (mp.log(1 + f) - f + f * f / 2) / f**3, 0)
c = mp.taylor(lambda f: mp.log(1 + f), 0, 30)
tail = lambda f: mp.polyval(c[3:][::-1], f) if abs(f) < 0.05 else (mp.log(1 + f) - f + f * f / 2) / f**3
fit("log (f^3 p)", tail, lambda f: abs(f) ** 3 / max(abs(mp.log(1 + f)), mp.mpf("1e-9")) if f else 0, -0.2929, 0.4143, 8)
q = float((mp.pi / 4) ** 2) * 1.001
fit("sin (r^3 s(r^2))", lambda t: (mp.sin(mp.sqrt(t)) - mp.sqrt(t)) / mp.sqrt(t) ** 3 if t > 1e-8 else mp.mpf(-1) / 6 + t / 120, lambda t: t, 0, q, 3)
fit("cos (r^4 c(r^2))", lambda t: (mp.cos(mp.sqrt(t)) - 1 + t / 2) / t**2 if t > 1e-6 else mp.mpf(1) / 24 - t / 720, lambda t: t**2, 0, q, 2)
fit("asin (x^3 p(x^2))", lambda t: (mp.asin(mp.sqrt(t)) - mp.sqrt(t)) / mp.sqrt(t) ** 3 if t > 1e-6 else mp.mpf(1) / 6 + t * 3 / 40, lambda t: t, 0, 0.25, 5)
for d in (7, 8):
    fit(f"atan{d} (x^3 p(x^2))", lambda t: (mp.atan(mp.sqrt(t)) - mp.sqrt(t)) / mp.sqrt(t) ** 3 if t > 1e-6 else -mp.mpf(1) / 3 + t / 5, lambda t: t / mp.atan(mp.sqrt(t)) * mp.sqrt(t) if t else 0, 0, 1, d)
fit("erf small (x p(x^2))", lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t) if t > 1e-12 else 2 / mp.sqrt(mp.pi), lambda t: 1, 0, 1.0, 6)
for d in (7, 8, 9):
    fit(f"erfc exponent {d}: -log(erfc) = p(x)", lambda x: -mp.log(mp.erfc(x)), lambda x: mp.erfc(x), 0.95, 4.0, d)
