#include "matrix.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace {

using trainhost::sdk::Host;

constexpr int kMostSweeps = 40;           // ten are usual
constexpr double kOrthogonal = 1e-14;     // cosine of the angle between rows that need no rotation
constexpr int64_t kWorthAThread = 20000;  // multiplications

// So many rows, of `row` multiplications each, are worth a thread.
int64_t grain(int64_t row) { return std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, row)); }

double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Turns two rows within their plane until they are orthogonal; false where they were.
bool rotate(double *a, double *b, int64_t n) {
  const double aa = dot(a, a, n), bb = dot(b, b, n), ab = dot(a, b, n);
  if (!(std::abs(ab) > kOrthogonal * std::sqrt(aa * bb))) return false;
  const double zeta = (bb - aa) / (2 * ab);
  const double tangent = std::copysign(1.0, zeta) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
  const double cosine = 1 / std::sqrt(1 + tangent * tangent), sine = cosine * tangent;
  for (int64_t i = 0; i < n; ++i) {
    const double before = a[i];
    a[i] = cosine * before - sine * b[i];
    b[i] = sine * before + cosine * b[i];
  }
  return true;
}

// One-sided Jacobi rotations (Hestenes 1958) until all rows of b are orthogonal. In each of the rounds of a sweep every row meets one
// other, as in a tournament: the pairs of a round are independent, and all pairs have met after size - 1 rounds.
void orthogonalise_rows(const Host &host, double *b, int64_t n) {
  const int64_t size = n + n % 2;  // with an odd number one row rests
  std::atomic<bool> rotated = true;
  for (int sweep = 0; rotated && sweep < kMostSweeps; ++sweep) {
    rotated = false;
    for (int64_t round = 0; round < size - 1; ++round) {
      host.parallel_for(size / 2, grain(7 * n), [&](int64_t begin, int64_t end) {
        bool any = false;
        for (int64_t pair = begin; pair < end; ++pair) {
          const int64_t i = pair == 0 ? size - 1 : (round + pair) % (size - 1), j = (round + size - 1 - pair) % (size - 1);
          if (std::max(i, j) < n) any |= rotate(b + std::min(i, j) * n, b + std::max(i, j) * n, n);
        }
        if (any) rotated = true;
      });
    }
  }
}

}  // namespace

void add_outer_product(const Host &host, const Strided &g, double scale, float *a) {
  host.parallel_for(g.rows, grain(g.rows * g.columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < g.rows; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < g.columns; ++k) sum += g.at(i, k) * g.at(j, k);
        a[i * g.rows + j] = static_cast<float>(double{a[i * g.rows + j]} + scale * scale * sum);
      }
    }
  });
}

// Rotations J that make the rows of J A orthogonal, for A symmetric and positive, are its eigenvectors: J A = D J with D the eigenvalues,
// so row k is d_k v_k^T. Hence A^(-1/4) = sum over k of d_k^(-1/4) v_k v_k^T = sum of d_k^(-9/4) (row k)^T (row k).
void inverse_fourth_root(const Host &host, const float *a, int64_t n, double epsilon, float *root, double *work) {
  for (int64_t i = 0; i < n * n; ++i) work[i] = double{a[i]} + (i % (n + 1) == 0 ? epsilon : 0);
  orthogonalise_rows(host, work, n);
  for (int64_t k = 0; k < n; ++k) {  // d_k^(-9/8) (row k), so that each term is a product of two
    double *row = work + k * n;
    const double eigenvalue = std::sqrt(dot(row, row, n)), factor = std::pow(eigenvalue, -9.0 / 8);
    for (int64_t i = 0; i < n; ++i) row[i] *= factor;
  }
  host.parallel_for(n, grain(n * n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < n; ++k) sum += work[k * n + i] * work[k * n + j];
        root[i * n + j] = static_cast<float>(sum);
      }
    }
  });
}

void multiply_both_sides(const Host &host, const float *left, const float *g, const float *right, int64_t m, int64_t n, double *work,
                         double *out) {
  host.parallel_for(m, grain(m * n), [&](int64_t begin, int64_t end) {
    std::fill(work + begin * n, work + end * n, 0.0);
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t k = 0; k < m; ++k) {
        for (int64_t j = 0; j < n; ++j) work[i * n + j] += double{left[i * m + k]} * double{g[k * n + j]};
      }
    }
  });
  host.parallel_for(m, grain(n * n), [&](int64_t begin, int64_t end) {
    std::fill(out + begin * n, out + end * n, 0.0);
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t k = 0; k < n; ++k) {
        for (int64_t j = 0; j < n; ++j) out[i * n + j] += work[i * n + k] * double{right[k * n + j]};
      }
    }
  });
}
