# SPDX-License-Identifier: Apache-2.0
# Sourced by ./run, with `root` set: makes the environment if it is missing or out of date, enters it.
#
# The environment is one folder, .venv. A stamp in it says what a step was last done for, and is
# written only when that step has ended well: a set-up that was broken off is taken up again. What
# the set-up needs besides (log, lock, CMake's build) lies in .pixelrefer.

begin=$SECONDS
if [ -n "${ROS_DISTRO:-}" ]; then
  wheels=false venv=$root/.venv-$ROS_DISTRO state=$root/.pixelrefer/$ROS_DISTRO
else
  wheels=true venv=$root/.venv state=$root/.pixelrefer/wheels
fi
log=$state/setup.log

say() { printf '[%4d s] %s\n' $((SECONDS - begin)) "$*" >&2; }

fail() {
  { echo; printf '%s\n' "$@"; } >&2
  exit 1
}

# step TEXT COMMAND...: what the command prints goes to the log; the log's end is shown if it fails.
step() {
  local text=$1 ticker status=0
  shift
  say "$text"
  printf '\n==> %s\n' "$text" >>"$log"
  tick & ticker=$!
  "$@" >>"$log" 2>&1 </dev/null || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  [ ! -t 2 ] || printf '\r\033[K' >&2
  [ "$status" = 0 ] || { tail -n 25 "$log" >&2; fail "This failed: $text. The whole log: $log"; }
}

# Shows that a step is alive: on a terminal by the last line of the log, elsewhere once a minute.
tick() {
  local line ticks=0
  while sleep 1 && kill -0 $$ 2>/dev/null; do
    ticks=$((ticks + 1))
    if [ -t 2 ]; then
      line=$(tail -n 1 "$log" | tr -d '\r' | cut -c 1-70)
      printf '\r[%4d s]   %s\033[K' $((SECONDS - begin)) "$line" >&2
    elif [ $((ticks % 60)) = 0 ]; then
      say '  still at it'
    fi
  done
}

# --- which Python, which ROS 2 -------------------------------------------------------------------

imports() { "$1" -c "import $2" 2>/dev/null; }

has_wheels() {
  "$1" - 2>/dev/null <<'PYTHON'
import platform, sys
libc, version = platform.libc_ver()
raise SystemExit(not (
    sys.platform == 'linux' and platform.machine() == 'x86_64'
    and sys.implementation.name == 'cpython' and (3, 10) <= sys.version_info[:2] <= (3, 14)
    and libc == 'glibc' and tuple(map(int, version.split('.'))) >= (2, 28)))
PYTHON
}

# Sets `python`, the interpreter that the environment is made with.
choose_python() {
  local candidate
  if ! $wheels; then
    for candidate in ${PIXELREFER_PYTHON:-python3 /usr/bin/python3}; do
      if imports "$candidate" rclpy; then python=$candidate; return; fi
    done
    fail "ROS 2 $ROS_DISTRO is sourced here, but no Python imports its rclpy. Name one that does" \
      '(PIXELREFER_PYTHON=/usr/bin/python3 ./run ...), or use a shell in which ROS is not sourced.'
  fi
  for candidate in ${PIXELREFER_PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if has_wheels "$candidate"; then python=$candidate; return; fi
  done
  python=${PIXELREFER_PYTHON:-python3}
  ! command -v "$python" >/dev/null || fail \
    "There are no ROS 2 wheels for $("$python" --version 2>&1) on $(uname -s) $(uname -m). They exist" \
    'for CPython 3.10 to 3.14 on x86_64 Linux with glibc 2.28 or newer. Source a ROS 2 Jazzy, or name' \
    'a Python that has them: PIXELREFER_PYTHON=python3.12 ./run ...' \
    'The model package alone installs anywhere: pip install . (docs/install.md)'
}

# --- what apt brings -----------------------------------------------------------------------------

loads() { "$python" -c "import ctypes; ctypes.CDLL('$1')" 2>/dev/null; }

# What simulated scenes are drawn with where there is no display.
draws() { { loads libEGL.so.1 && loads libOpenGL.so.0; } || loads libOSMesa.so.8; }

# Sets `missing` to the apt packages without which the set-up cannot go on.
find_missing() {
  local name=python3 gl=(libegl1 libgl1-mesa-dri libopengl0)
  missing=()
  command -v g++ >/dev/null || missing+=(g++)
  if command -v "$python" >/dev/null; then
    name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    imports "$python" ensurepip || missing+=("$name-venv")
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
      2>/dev/null || missing+=("$name-dev")
    draws || missing+=("${gl[@]}")
  else
    missing+=(python3 python3-venv python3-dev "${gl[@]}")
  fi
}

apt_install() {
  # A list that cannot be fetched need not be the one these packages come from.
  $sudo apt-get update || true
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"
}

install_missing() {
  local sudo='' line
  find_missing
  [ ${#missing[@]} -gt 0 ] || return 0
  line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  [ "$(id -u)" = 0 ] || sudo=sudo
  command -v apt-get >/dev/null || fail "Missing here, by their Debian names: ${missing[*]}"
  if [ -n "$sudo" ] && ! sudo -n true 2>/dev/null; then
    fail 'Some system packages are missing. Type this, then start again:' '' \
      "  sudo sh -c '$line'"
  fi
  step "installing ${missing[*]} with apt" apt_install
  find_missing
  [ ${#missing[@]} = 0 ] || fail "Still missing after apt-get install: ${missing[*]}"
}

# --- the Python environment ----------------------------------------------------------------------

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

has_torch() { "$1" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null; }

# One that is there already is kept, whoever made it, if only it works.
has_venv() {
  [ ! -e "$state/making-venv" ] && { "$venv/bin/python" -m pip --version ||
    "$venv/bin/python" -m ensurepip; } >/dev/null 2>&1
}

make_venv() {
  local site=()
  # Packages of the system are let in where ROS 2 or a PyTorch is among them: a board's own PyTorch
  # is one that no index has.
  if ! $wheels || has_torch "$python"; then site=(--system-site-packages); fi
  touch "$state/making-venv"
  rm -rf "$state/build"
  "$python" -m venv --clear "${site[@]}" "$venv" && rm "$state/making-venv"
}

# Pip writes INSTALLER last. A package without it was broken off: pip is to install it once more.
forget_half_installed() {
  local info
  for info in "$venv"/lib/python*/site-packages/*.dist-info; do
    [ -e "$info/INSTALLER" ] || rm -rf "$info"
  done
}

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q GPU; }

# A PyTorch that is there stays. Otherwise the pinned one: with a GPU the build without a local label,
# without a GPU the +cpu build, a tenth of the size, and either one where no index has it.
install_torch() {
  local version
  if has_torch "$venv/bin/python"; then return; fi
  version=$(sed -n 's/^torch==//p' "$root/constraints.txt")
  if has_gpu; then
    pip install "torch===$version" || pip install "torch==$version"
  else
    pip install "torch==$version+cpu" || pip install "torch==$version"
  fi
}

# The requirements of pyproject.toml, with the extras that training and tests need.
requirements() {
  "$venv/bin/python" - "$root/pyproject.toml" "$wheels" <<'PYTHON'
import sys
try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], 'rb') as file:
    table = tomllib.load(file)
wheels = sys.argv[2] == 'true'
# A sourced ROS 2 has its own generators and what they import.
build = table['build-system']['requires'] if wheels else ['cmake>=3.19', 'ninja']
extras = [table['project']['optional-dependencies'][name] for name in ('test', 'train')]
for line in sorted({*build, *table['project']['dependencies'], *sum(extras, [])}):
    if wheels or not line.startswith('ros-'):
        print(line)
PYTHON
}

# Versions that pip may not change: PyTorch as it is, and with a sourced ROS 2 its numpy.
frozen() {
  "$venv/bin/python" - "$wheels" <<'PYTHON'
import sys
from importlib.metadata import version
for name in ('torch',) if sys.argv[1] == 'true' else ('torch', 'numpy'):
    print(f'{name}==={version(name)}')
PYTHON
}

install_python() {
  local constraints=(-c "$state/frozen.txt")
  requirements >"$state/requirements.txt" && frozen >"$state/frozen.txt" || return
  # The pinned numpy may not suit the one that a sourced ROS 2 was built with.
  if $wheels; then
    grep -v '^torch==' "$root/constraints.txt" >"$state/pinned.txt"
    constraints+=(-c "$state/pinned.txt")
  fi
  pip install -r "$state/requirements.txt" "${constraints[@]}"
}

# Found out once, for every later start.
choose_gl() {
  rm -f "$venv/.gl"
  PYTHONPATH=$root "$venv/bin/python" -c 'from training.world.gl import backend; print(backend())' \
    >"$state/gl" && mv "$state/gl" "$venv/.gl" || true
}

# --- the interfaces ------------------------------------------------------------------------------

build_interfaces() (
  enter
  site=lib/$(python -c 'import sys; print("python%d.%d" % sys.version_info[:2])')/site-packages
  # The messages are small: a third of the compile time is worth more here than -O3.
  cmake -S "$root" -B "$state/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DBUILD_TESTING=OFF \
    -DCMAKE_C_FLAGS=-O1 -DCMAKE_CXX_FLAGS=-O1 -DPIXELREFER_PYTHON=OFF \
    "-DPYTHON_INSTALL_DIR=$site" "-DPython3_EXECUTABLE=$venv/bin/python" \
    "-DCMAKE_INSTALL_PREFIX=$venv" "-DCMAKE_PROJECT_INCLUDE=$root/cmake/pip_prefix.cmake" &&
    cmake --build "$state/build" && cmake --install "$state/build"
)

# --- stamps: what each step depends on -------------------------------------------------------------

digest() { { printf '%s\n' "$@"; cat; } | sha256sum | cut -d ' ' -f 1; }

python_digest() {
  cat "$root/pyproject.toml" "$root/constraints.txt" | digest "$("$venv/bin/python" --version 2>&1)"
}

interfaces_digest() {
  (cd "$root" && find CMakeLists.txt package.xml cmake/*.cmake msg srv action launch config scripts \
    -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
    digest "$("$venv/bin/python" --version 2>&1)" "$(grep '"ros-' "$root/pyproject.toml")"
}

is_done() { [ "$(cat "$venv/.done-$1" 2>/dev/null)" = "$("$1_digest")" ]; }

mark_done() { "$1_digest" >"$venv/.done-$1"; }

# The Python that PIXELREFER_PYTHON asks for, if it asks, is the one of the environment.
right_python() {
  [ -z "${PIXELREFER_PYTHON:-}" ] ||
    [ "$("$PIXELREFER_PYTHON" --version 2>&1)" = "$("$venv/bin/python" --version 2>&1)" ]
}

ready() { right_python && [ -x "$venv/bin/python" ] && is_done python && is_done interfaces; }

# --- all of it -----------------------------------------------------------------------------------

set_up() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  # Of two first starts at once the second waits, then finds all done.
  flock -n 9 || { say 'another start is setting up; waiting for it'; flock 9; }
  if ready; then
    exec 9>&-   # or the command, which inherits it, would keep a third start waiting
    return
  fi
  say "setting up in $venv; the log is $log"
  : >"$log"
  choose_python
  install_missing
  choose_python   # apt may have brought it
  [ ! -x "$venv/bin/python" ] || right_python ||
    fail "$venv was made with another Python than $PIXELREFER_PYTHON: remove that folder first."
  has_venv || step "making $(basename "$venv") with $("$python" --version 2>&1)" make_venv
  touch "$venv/COLCON_IGNORE"
  if ! is_done python; then
    forget_half_installed
    step 'installing PyTorch' install_torch
    step "installing Python packages$(! $wheels || echo ' and ROS 2')" install_python
    step 'looking for a way to draw without a display' choose_gl
    [ -e "$venv/.gl" ] || say '  none here: the node runs, simulated scenes do not; the log says why'
    mark_done python
  fi
  if ! is_done interfaces; then
    step 'building the ROS interfaces' build_interfaces
    mark_done interfaces
  fi
  exec 9>&-
  say 'ready'
}

enter() {
  local site
  export VIRTUAL_ENV=$venv PATH="$venv/bin:$root/scripts:$PATH"
  export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
  if $wheels; then
    export AMENT_PREFIX_PATH=$venv RMW_IMPLEMENTATION=rmw_fastrtps_cpp
    # A mark that the Python of another environment with ROS 2 wheels may have left in this shell.
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
  else
    # Before what was sourced, which may hold another build of these interfaces.
    site=$(echo "$venv"/lib/python*/site-packages)
    export PYTHONPATH="$root:$site:${PYTHONPATH#"$root":}"
    export AMENT_PREFIX_PATH="$venv:$AMENT_PREFIX_PATH"
    export LD_LIBRARY_PATH="$venv/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  fi
  export MUJOCO_GL=${MUJOCO_GL:-$(cat "$venv/.gl" 2>/dev/null)}
  # The profile takes 64 MiB of shared memory for each process: all that a plain container has.
  if [ -z "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" ] && [ "$(shared_memory)" -ge 1024 ]; then
    export FASTRTPS_DEFAULT_PROFILES_FILE=$root/config/fastdds_large_images.xml
  fi
}

shared_memory() { df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { free = $4 } END { print free + 0 }'; }

ready || set_up
enter
