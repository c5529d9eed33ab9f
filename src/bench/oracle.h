#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "judge/verdict.h"

namespace kw::bench {

/// PyTorch in a long-lived child (`python -m kernelwright.oracle`) that runs the exported module on what it is given.
/// Started by the first call, ended on destruction. Of the request it reads folder, threads python and oracle_limit_s.
/// fails: oracle.start, oracle.gone (the child died), oracle.timeout (and was killed; none of these is tried again),
/// oracle.run (PyTorch raised)
class PythonOracle final : public judge::FrameworkOracle {
 public:
  explicit PythonOracle(BenchRequest request);
  ~PythonOracle() override;
  Result<judge::FrameworkReply> run(const std::vector<Tensor>& inputs,
                                    const std::map<std::string, Tensor>& params) override;

 private:
  class Child;
  void start();
  BenchRequest request_;
  std::unique_ptr<Child> child_;
  Failure gone_;  // why there is no child; an empty id before the first call
  /// What the child holds already; kept alive so that an equal address means equal weights.
  std::map<std::string, Tensor> sent_;
};

}  // namespace kw::bench
