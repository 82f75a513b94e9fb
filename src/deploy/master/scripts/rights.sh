set -e
for file in /etc/ehos/ehos.yaml /etc/ehos/*.token; do
    if [ -e "$file" ]; then chown root:ehos "$file"; chmod 640 "$file"; fi
done
if [ -d /etc/ehos/keys ]; then
    chown -R ehos:ehos /etc/ehos/keys; chmod -R u=rwX,go= /etc/ehos/keys
fi
if command -v restorecon >/dev/null; then
    restorecon -R /etc/ehos /usr/bin/ehos /usr/share/ehos /usr/lib/sysusers.d/ehos.conf /usr/lib/tmpfiles.d/ehos.conf \
        /usr/lib/systemd/system/ehos*
fi
systemctl daemon-reload; systemctl try-restart ehos-frontend.service
