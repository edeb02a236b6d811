// Everything for the loop around a model: data, batches, metrics, progress, checkpoints.
#pragma once

#include <xgrad/training/checkpoint.hpp>
#include <xgrad/training/dataset.hpp>
#include <xgrad/training/figure.hpp>
#include <xgrad/training/idx.hpp>
#include <xgrad/training/metrics.hpp>
#include <xgrad/training/probe.hpp>
#include <xgrad/training/progress.hpp>
#include <xgrad/training/safetensors.hpp>
#include <xgrad/training/synthetic_digits.hpp>
