#pragma once
// All of the host metal_stdlib. Precompiled once for each set of flags.
#include "atomic.h"
#include "containers.h"
#include "launch.h"
#include "matrix.h"
#include "simdgroup_matrix.h"
