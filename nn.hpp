// Everything of nn: modules, layers, losses, initialisers.
#pragma once

#include <xgrad/nn/activations.hpp>
#include <xgrad/nn/batch_norm.hpp>
#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/input_jacobian.hpp>
#include <xgrad/nn/layer.hpp>
#include <xgrad/nn/layer_norm.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/losses.hpp>
#include <xgrad/nn/module.hpp>
#include <xgrad/nn/representations.hpp>
#include <xgrad/nn/sequential.hpp>
#include <xgrad/nn/shape_layers.hpp>
