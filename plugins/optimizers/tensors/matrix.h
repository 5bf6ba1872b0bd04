// Matrices of float32 in memory of others.
#pragma once

#include <cstdint>

// Element (r, c) is data[r * row_stride + c * column_stride]; one of the strides is 1.
struct Matrix {
  Matrix(float *data, int64_t rows, int64_t columns) : Matrix(data, rows, columns, columns, 1) {}
  Matrix(float *data, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride)
      : data(data), rows(rows), columns(columns), row_stride(row_stride), column_stride(column_stride) {}

  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  Matrix some_rows(int64_t first, int64_t count) const { return {data + first * row_stride, count, columns, row_stride, column_stride}; }

  float *data;
  int64_t rows, columns, row_stride, column_stride;
};

// out = beta x addend + alpha x a b; with beta 0 the addend is not read. It may be out.
using MultiplyAdd = void(const Matrix &addend, double beta, const Matrix &a, const Matrix &b, double alpha, const Matrix &out);
