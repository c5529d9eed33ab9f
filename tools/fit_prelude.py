"""Minimax polynomials of the CPU prelude's float32 functions.

Prints the coefficients found in src/kernel/emit/cpu_prelude.h.

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


def series(f, direct, order):
    """direct(x), by Taylor's series of f near 0 where the direct form cancels."""
    coef = mp.taylor(f, 0, order + 12)[order:]
    return lambda x: mp.polyval(coef[::-1], x) if abs(x) < mp.mpf("1e-3") else direct(x)


def of_square(f, near_zero, small=1e-6):
    """f(x) as a function of t = x^2, by near_zero(t) where f cancels."""
    return lambda t: f(mp.sqrt(t)) if t > small else near_zero(t)


def log_rest(f):
    """(log(1 + f) - f + f^2 / 2) / f^3, by its series near 0."""
    return mp.polyval(log_series[3:][::-1], f) if abs(f) < 0.05 else (mp.log(1 + f) - f + f * f / 2) / f**3


def fit_exponentials():
    h = float(mp.log(2) / 2) + 1e-3
    rest = series(mp.exp, lambda r: (mp.exp(r) - 1 - r) / r**2, 2)
    fit("exp (r^2 q)", rest, lambda r: r**2, -h, h, 4)
    fit("expm1 (r^2 q)", rest, lambda r: abs(r), -h, h, 5)
    rest = series(lambda r: mp.power(2, r), lambda r: (mp.power(2, r) - 1) / r, 1)
    fit("exp2 (r q)", rest, lambda r: abs(r), -0.5, 0.5, 5)


def fit_log():
    def weight(f):
        return abs(f) ** 3 / max(abs(mp.log(1 + f)), mp.mpf("1e-9")) if f else 0

    fit("log (f^3 p)", log_rest, weight, -0.2929, 0.4143, 8)


def fit_circular():
    q = float((mp.pi / 4) ** 2) * 1.001
    sin = of_square(lambda x: (mp.sin(x) - x) / x**3, lambda t: mp.mpf(-1) / 6 + t / 120, 1e-8)
    fit("sin (r^3 s(r^2))", sin, lambda t: t, 0, q, 3)
    cos = of_square(lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4, lambda t: mp.mpf(1) / 24 - t / 720)
    fit("cos (r^4 c(r^2))", cos, lambda t: t**2, 0, q, 2)
    asin = of_square(lambda x: (mp.asin(x) - x) / x**3, lambda t: mp.mpf(1) / 6 + t * 3 / 40)
    fit("asin (x^3 p(x^2))", asin, lambda t: t, 0, 0.25, 5)
    atan = of_square(lambda x: (mp.atan(x) - x) / x**3, lambda t: -mp.mpf(1) / 3 + t / 5)
    for d in (7, 8):
        fit(f"atan{d} (x^3 p(x^2))", atan, lambda t: t / mp.atan(mp.sqrt(t)) * mp.sqrt(t) if t else 0, 0, 1, d)


def fit_error_functions():
    erf = of_square(lambda x: mp.erf(x) / x, lambda t: 2 / mp.sqrt(mp.pi), 1e-12)
    fit("erf small (x p(x^2))", erf, lambda t: 1, 0, 1.0, 6)
    for d in (7, 8, 9):
        fit(f"erfc exponent {d}: -log(erfc) = p(x)", lambda x: -mp.log(mp.erfc(x)), mp.erfc, 0.95, 4.0, d)


log_series = mp.taylor(lambda f: mp.log(1 + f), 0, 30)
fit_exponentials()
fit_log()
fit_circular()
fit_error_functions()
