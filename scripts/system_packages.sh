#!/usr/bin/env bash
# Make sure that the system libraries that Qt, OpenGL and the virtual screen need are here.
# Installs them with apt where that is allowed; otherwise names the packages and stops.
set -u

# library or program -> Debian package
needs=(
  "libEGL.so.1 libegl1"
  "libGL.so.1 libgl1"
  "libxkbcommon-x11.so.0 libxkbcommon-x11-0"
  "libxcb-cursor.so.0 libxcb-cursor0"
  "libxcb-icccm.so.4 libxcb-icccm4"
  "libxcb-image.so.0 libxcb-image0"
  "libxcb-keysyms.so.1 libxcb-keysyms1"
  "libxcb-render-util.so.0 libxcb-render-util0"
  "libxcb-shape.so.0 libxcb-shape0"
  "libdbus-1.so.3 libdbus-1-3"
  "libfontconfig.so.1 libfontconfig1"
  "libglib-2.0.so.0 libglib2.0-0"
  "libgomp.so.1 libgomp1"
  "swrast_dri.so libgl1-mesa-dri"
  "xvfb-run xvfb"
  "xauth xauth"
  "DejaVuSans.ttf fonts-dejavu-core"
)

present() {
  command -v "$1" >/dev/null 2>&1 && return 0
  case "$1" in
    *_dri.so) compgen -G "/usr/lib/*/dri/*_dri.so" >/dev/null || compgen -G "/usr/lib/*/libgallium-*.so" >/dev/null ;;
    *.ttf) compgen -G "/usr/share/fonts/truetype/*/*.ttf" >/dev/null ;;
    *) /sbin/ldconfig -p 2>/dev/null | grep -qF "$1" ;;
  esac
}

missing=()
for need in "${needs[@]}"; do
  present "${need% *}" || missing+=("${need#* }")
done
[ ${#missing[@]} -eq 0 ] && exit 0

# macOS and Windows carry their own OpenGL and windows; only Linux needs these.
[ "$(uname -s)" = Linux ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
  elevate=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then elevate=(sudo -n); else elevate=(false); fi
  fi
  if [ "${elevate[*]-}" != false ]; then
    echo "Installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${elevate[@]}" apt-get update -qq >/dev/null 2>&1
    if "${elevate[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then exit 0; fi
  fi
  echo "Please install these system packages, then run this again:  sudo apt-get install ${missing[*]}" >&2
  exit 2
fi
echo "Please install your distribution's packages that provide (Debian's names): ${missing[*]}" >&2
exit 2
