#!/bin/sh
# The steps of Containerfile: `tools` and `package EXTRAS` in the stage that builds, `runtime` in the image itself.
set -eu
export DEBIAN_FRONTEND=noninteractive
PREFIX=/opt/modelward
OWNER=12345

# Debian's packages, from DEBIAN_MIRROR where one is given. No lists and no caches are left.
packages() {
  if [ -n "${DEBIAN_MIRROR:-}" ]; then
    sed -i "s#https\?://deb.debian.org#${DEBIAN_MIRROR%/}#" /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true
  fi
  apt-get update -q
  apt-get install -qy --no-install-recommends "$@"
  apt-get clean
  rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
}

tools() {
  packages python3 python3-venv ca-certificates binutils
  python3 -m venv /tmp/tools
}

# The package and what it needs, in a place of its own without pip. Nothing is compiled: all dependencies are wheels.
package() {
  [ -n "${PIP_INDEX_URL:-}" ] || unset PIP_INDEX_URL
  python3 -m venv --without-pip "$PREFIX"
  /tmp/tools/bin/pip --python "$PREFIX/bin/python" install -q --no-cache-dir --no-compile \
    --disable-pip-version-check --root-user-action=ignore "/src${1:+[$1]}"
  site=$(echo "$PREFIX"/lib/python3*/site-packages)
  prune "$site"
  # Without times in them: the layers of an image round those. The root is read-only, so no start could write them.
  "$PREFIX/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$site"
  install -D -m 0644 /src/etc/container/defaults.toml "$PREFIX/share/modelward/defaults.toml"
  "$PREFIX/bin/modelward" --version
}

# What no process of ours loads: tests, headers, stubs, and tools for those who train or convert models.
prune() {
  find "$1" -type d \( -name tests -o -name testing -o -name test \) -prune -exec rm -rf {} +
  find "$1" \( -name '*.pyi' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.proto' -o -name '*.a' \) -delete
  rm -rf "$1/onnxruntime/transformers" "$1/onnxruntime/quantization" "$1/onnxruntime/tools" "$1"/zstandard/_cffi*.so
  # Some wheels carry debug symbols. The libraries in *.libs were rewritten when the wheel was made: they stay as they are.
  find "$1" -name '*.so' -not -path '*.libs/*' -size +500k -exec strip --strip-debug {} +
  cd "$PREFIX/bin" && find . ! -name 'python*' ! -name modelward ! -name . -delete
}

runtime() {
  packages python3 ca-certificates tzdata
  groupadd --gid "$OWNER" modelward
  useradd --uid "$OWNER" --gid "$OWNER" --home-dir /data --no-create-home --shell /usr/sbin/nologin modelward
  # Named volumes take owner and content from here. Any other user may use a volume that it may write.
  install -d -o "$OWNER" -g "$OWNER" -m 0750 /data /data/models
  install -d /etc/modelward
  chmod 1777 /run  # as that of a tmpfs: whatever the user, it makes its own directory there
  find / -xdev -type f -perm /6000 -exec chmod a-s {} +  # nothing in it gains rights
}

"$@"
