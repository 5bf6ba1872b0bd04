// The linear algebra of Shampoo. Matrices are row-major; sums go over an index in its order, so that results do not depend on threads.
#pragma once

#include <cstdint>

#include <trainhost/cpp/plugin.hpp>

// a [n, n] += scale^2 g g^T, for g [n, k] with element (i, j) at g[i * row_stride + j * column_stride].
struct Strided {
  const float *data;
  int64_t rows, columns, row_stride, column_stride;
  double at(int64_t i, int64_t j) const { return double{data[i * row_stride + j * column_stride]}; }
};
void add_outer_product(const trainhost::sdk::Host &host, const Strided &g, double scale, float *a);

// root [n, n] = (a + epsilon I)^(-1/4), for a [n, n] symmetric without negative eigenvalues; work: n * n doubles.
void inverse_fourth_root(const trainhost::sdk::Host &host, const float *a, int64_t n, double epsilon, float *root, double *work);

// out [m, n] = left [m, m] g [m, n] right [n, n], with left and right symmetric; work and out: m * n doubles.
void multiply_both_sides(const trainhost::sdk::Host &host, const float *left, const float *g, const float *right, int64_t m, int64_t n,
                         double *work, double *out);
