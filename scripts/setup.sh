#!/usr/bin/env bash
# Installs what Kernelwright needs: system packages (apt or Homebrew) and a Python venv in .venv.
# Does nothing when all is there. --dev adds what tests and linters need.
set -euo pipefail
cd "$(dirname "$0")/.."
dev=0
[ "${1:-}" = "--dev" ] && dev=1

apt_packages=(g++ cmake ninja-build ccache libcli11-dev libfmt-dev nlohmann-json3-dev libtomlplusplus-dev zlib1g-dev
  libsqlite3-dev libcurl4-openssl-dev doctest-dev libssl-dev libopenblas-dev libseccomp-dev bubblewrap binutils pkg-config
  python3-venv python3-dev)
brew_packages=(cmake ninja ccache cli11 fmt nlohmann-json tomlplusplus curl sqlite doctest openssl@3 openblas python@3.12)

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo > /dev/null; then sudo "$@"; else
    echo "error: packages are missing (${missing[*]}) and there is neither root nor sudo" >&2
    echo "hint: ask an administrator to install them" >&2
    exit 2
  fi
}

llvm_packages() { echo "clang-$1 libclang-rt-$1-dev clang-format-$1 clang-tidy-$1"; }

find_missing() { # PACKAGE...: those that are not installed, into `missing`
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2> /dev/null | sed -n 's/^ii *//p' || true)
  mapfile -t missing < <(printf '%s\n' "$@" | grep -vxF "$installed")
}

setup_apt() {
  local wanted=("${apt_packages[@]}") llvm=()
  [ "$dev" = 1 ] && read -ra llvm < <(llvm_packages "$(scripts/llvm.sh 2> /dev/null || echo 16)")
  find_missing "${wanted[@]}" "${llvm[@]}"
  [ ${#missing[@]} = 0 ] && return
  as_root apt-get update -qq
  if [ "$dev" = 1 ]; then # apt now knows what it offers
    read -ra llvm < <(llvm_packages "$(scripts/llvm.sh 2> /dev/null || scripts/llvm.sh --offered)")
    find_missing "${wanted[@]}" "${llvm[@]}"
  fi
  echo "installing: ${missing[*]}" >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

setup_brew() {
  missing=()
  for package in "${brew_packages[@]}"; do
    brew list --versions "$package" > /dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] || brew install "${missing[@]}"
}

setup_python() {
  local requirements=(requirements.txt)
  [ "$dev" = 1 ] && requirements+=(requirements-dev.txt)
  local stamp=.venv/.requirements-$dev wanted
  wanted=$(cat "${requirements[@]}" | cksum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  [ -x .venv/bin/python ] || "${KW_PYTHON:-python3}" -m venv .venv
  echo "installing Python packages into .venv" >&2
  local args=()
  for file in "${requirements[@]}"; do args+=(-r "$file"); done
  # KW_PIP_ARGS may name an index with CPU builds of PyTorch; the plain one works too, but is larger.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check ${KW_PIP_ARGS:-} "${args[@]}"
  echo "$PWD/python" > "$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/kernelwright.pth"
  echo "$wanted" > "$stamp"
  # What tests need holds what users need.
  [ "$dev" = 0 ] || cksum < requirements.txt > .venv/.requirements-0
}

if command -v apt-get > /dev/null; then setup_apt
elif command -v brew > /dev/null; then setup_brew
else
  echo "error: neither apt-get nor brew was found" >&2
  echo "hint: install a C++20 compiler, CMake, Ninja and the libraries named in scripts/setup.sh by hand" >&2
  exit 2
fi
setup_python
