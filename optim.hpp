// Optimizers, learning-rate schedules and clipping.
#pragma once

#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/clip.hpp>
#include <xgrad/optim/optimizer.hpp>
#include <xgrad/optim/schedules.hpp>
#include <xgrad/optim/sgd.hpp>
