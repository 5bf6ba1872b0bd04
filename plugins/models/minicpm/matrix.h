// Matrices in memory of others, and LibTorch's product of them: the one file of the plugin that LibTorch's headers touch is matrix.cpp.
#pragma once

#include <cstdint>

namespace trainhost::minicpm {

// rows x columns of float32; element (r, c) is data[r * row_stride + c * column_stride], and one of the strides is 1.
struct Matrix {
  Matrix(const float *data, int64_t rows, int64_t columns) : Matrix(data, rows, columns, columns) {}
  Matrix(const float *data, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride = 1)
      : data(const_cast<float *>(data)), rows(rows), columns(columns), row_stride(row_stride), column_stride(column_stride) {}
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }

  float *data;
  int64_t rows, columns, row_stride, column_stride;
};

// out = scale * a b, or out + scale * a b when add. On all threads; inside a parallel body on the calling one.
void multiply(const Matrix &a, const Matrix &b, const Matrix &out, float scale = 1, bool add = false);

// out = addend + scale * a b.
void multiply_add(const Matrix &addend, const Matrix &a, const Matrix &b, const Matrix &out, float scale);

// Threads that products are spread over.
int thread_count();

}  // namespace trainhost::minicpm
