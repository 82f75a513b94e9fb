set -e
if ! getent passwd ehos >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/ehos.conf || {
        getent group ehos >/dev/null || groupadd --system ehos
        useradd --system --gid ehos --home-dir /var/lib/ehos --shell /usr/sbin/nologin ehos
    }
fi
install -d -o ehos -g ehos -m 711 /var/lib/ehos
