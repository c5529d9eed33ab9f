#pragma once
#include "atomic.h"
