#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "app/options.h"
#include "base/file.h"
#include "graph/problem.h"
#include "store/store.h"
#include "target/target.h"

namespace kw::app {

/// A module that was understood, with the folder that holds its export where there was one.
struct Imported {
  std::unique_ptr<TempDir> folder;
  graph::Problem problem;
};

/// Exports and imports, within `limit_s`. throws UserError
Imported import_source(const std::string& source, const std::string& mode, const CommonOptions& common,
                       double limit_s = 600);
/// For looking only: an archive that our own reader understands is imported where it lies, without Python; the rest as
/// above. throws UserError
Imported import_for_reading(const std::string& source, const std::string& mode, const CommonOptions& common);
/// The store of this folder (`.kernelwright/`). throws UserError
std::unique_ptr<store::Store> open_store();
/// The named target with its width set; `chip` is whose time the Metal target predicts. throws UserError
std::unique_ptr<target::Target> open_target(const std::string& name, int threads, const std::string& chip = "m3");

}  // namespace kw::app
