#pragma once
// All of the host library for CUDA. Precompiled once for each set of flags.
#include "../entry.h"
#include "atomic.h"
#include "groups.h"
#include "wmma.h"
