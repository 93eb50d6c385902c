"""Find the Chromium that tests the built site; with --install, install it where possible."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Google/Chrome/Application/chrome.exe",
)


def find() -> str | None:
    """The path of Chromium or Chrome: what CHROMIUM names, else the first one found, else None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    found = (shutil.which(name) for name in (*NAMES, *PLACES))
    return next((path for path in found if path), None)


def install() -> bool:
    """Install Debian's or Ubuntu's package, as root or through a sudo that asks nothing."""
    if not shutil.which("apt-get"):
        return False
    sudo = []
    if os.geteuid() != 0:
        sudo = ["sudo", "-n"]
        if not shutil.which("sudo"):
            return False
        if subprocess.run([*sudo, "true"], capture_output=True).returncode:
            return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing Chromium with apt-get.", flush=True)
    for command in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
        if subprocess.run([*sudo, "apt-get", *command], env=environment).returncode:
            return False
    return True


def advice() -> str:
    """What to type on this system to get the browser."""
    if os.environ.get("CHROMIUM"):
        return f"CHROMIUM names {os.environ['CHROMIUM']!r}, which is not a program on this machine."
    if Path("/etc/debian_version").exists():
        command = "sudo apt-get update && sudo apt-get install -y chromium"
    elif Path("/etc/fedora-release").exists():
        command = "sudo dnf install chromium"
    elif platform.system() == "Darwin":
        command = "brew install --cask chromium"
    else:
        command = "install Chromium or Chrome from your system's packages"
    return (
        "The tests of the built site need Chromium, and none was found. Please run:\n"
        f"  {command}\n"
        "or name an installed one: CHROMIUM=/path/to/chromium make test"
    )


def main() -> int:
    found = find()
    if not found and "--install" in sys.argv[1:] and not os.environ.get("CHROMIUM") and install():
        found = find()
    print(f"Chromium: {found}" if found else advice())
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
