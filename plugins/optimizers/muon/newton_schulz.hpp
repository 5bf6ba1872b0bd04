// Muon's iteration (Jordan et al. 2024): five steps of Newton and Schulz with a quintic polynomial that does not converge to 1 but blows
// small singular values up as fast as it can. Of a matrix with Frobenius norm 1 it gives one with the same singular vectors and singular
// values in [0.68, 1.21] where they were 3e-3 and more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "tensors/matrix.h"

constexpr double kSmallestNorm = 1e-7;  // a matrix whose norm is smaller is divided by this: no step follows from no gradient

// The memory of the iteration: two of the matrix' shape, of which the first holds the matrix, and two squares of its shorter side.
struct NewtonSchulzMemory {
  float *x, *next, *gram, *polynomial;
};

// Returns where the result lies: x or next. multiply_add is a MultiplyAdd.
template <class Product>
float *orthogonalise(const NewtonSchulzMemory &memory, int64_t rows, int64_t columns, Product &&multiply_add) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const bool is_wide = rows <= columns;
  const int64_t side = std::min(rows, columns);
  const Matrix gram(memory.gram, side, side), polynomial(memory.polynomial, side, side);
  Matrix x(memory.x, rows, columns), next(memory.next, rows, columns);
  for (int step = 0; step < 5; ++step) {  // x = a x + (b A + c A^2) x with A = x x^T; of a tall one the same from the other side
    is_wide ? multiply_add(gram, 0, x, x.transposed(), 1, gram) : multiply_add(gram, 0, x.transposed(), x, 1, gram);
    multiply_add(gram, b, gram, gram, c, polynomial);
    is_wide ? multiply_add(x, a, polynomial, x, 1, next) : multiply_add(x, a, x, polynomial, 1, next);
    std::swap(x, next);
  }
  return x.data;
}
