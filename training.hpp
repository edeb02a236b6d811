// Everything for the loop around a model: data, batches, metrics, progress.
#pragma once

#include <xgrad/training/dataset.hpp>
#include <xgrad/training/figure.hpp>
#include <xgrad/training/idx.hpp>
#include <xgrad/training/metrics.hpp>
#include <xgrad/training/probe.hpp>
#include <xgrad/training/progress.hpp>
#include <xgrad/training/synthetic_digits.hpp>
