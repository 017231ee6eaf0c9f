# Shared by the scripts in this folder. Source it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

say() { printf '%s\n' "$*" >&2; }

# help_or_go_on ARGUMENTS...: where the first one is --help, prints the comment at the script's beginning and ends.
help_or_go_on() {
    [[ ${1:-} == --help || ${1:-} == -h ]] || return 0
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
}

# Runs a command as root, directly or with sudo.
as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "This needs root to run: $*"
        say "Run it as root, or install sudo."
        return 1
    fi
}

# install_packages PACKAGE...: installs those Debian packages that are missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return 0
    if ! command -v apt-get >/dev/null; then
        say "These packages are missing, and there is no apt-get to install them: ${missing[*]}"
        return 1
    fi
    say "Installing ${missing[*]}"
    # The status is checked because errexit is off if the caller continues without the packages.
    as_root apt-get update -qq || return
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Prometheus and promtool. The package starts a server for all networks at once; that one is not wanted.
install_prometheus() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' prometheus 2>/dev/null) == installed ]] && return 0
    install_packages prometheus || return
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet --now prometheus
    fi
}

# The browser by which tests look at the site. Debian has it as a package; Ubuntu's package only leads to a snap, so one that is there is taken.
install_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        ! command -v "$name" >/dev/null || return 0
    done
    install_packages chromium && return 0
    say "There is no package chromium for this system. On Ubuntu install it by 'snap install chromium', or install Google Chrome."
    return 1
}

require_dotnet() {
    if ! command -v dotnet >/dev/null; then
        say "The .NET 10 SDK is missing. Install it (dotnet-sdk-10.0) and see that 'dotnet' is on the PATH."
        return 1
    fi
    # With an SDK older than the one in global.json, dotnet itself fails with its own message.
    (cd "$root" && dotnet --version >/dev/null)
}
