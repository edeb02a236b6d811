// Everything of autodiff: arrays, variables, the tape, operations, how to define new ones and how to check them.
#pragma once

#include <xgrad/autodiff/array.hpp>
#include <xgrad/autodiff/elementwise.hpp>
#include <xgrad/autodiff/generator.hpp>
#include <xgrad/autodiff/gradcheck.hpp>
#include <xgrad/autodiff/kernels/level.hpp>
#include <xgrad/autodiff/kernels/threads.hpp>
#include <xgrad/autodiff/operations/activations.hpp>
#include <xgrad/autodiff/operations/arithmetic.hpp>
#include <xgrad/autodiff/operations/dropout.hpp>
#include <xgrad/autodiff/operations/embedding.hpp>
#include <xgrad/autodiff/operations/index.hpp>
#include <xgrad/autodiff/operations/matmul.hpp>
#include <xgrad/autodiff/operations/normalization.hpp>
#include <xgrad/autodiff/operations/places.hpp>
#include <xgrad/autodiff/operations/reduce.hpp>
#include <xgrad/autodiff/operations/shape.hpp>
#include <xgrad/autodiff/operations/softmax.hpp>
#include <xgrad/autodiff/record.hpp>
#include <xgrad/autodiff/record_many.hpp>
#include <xgrad/autodiff/tape.hpp>
#include <xgrad/autodiff/update_elementwise.hpp>
#include <xgrad/autodiff/variable.hpp>
