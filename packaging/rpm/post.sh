systemd-sysusers ehos.conf
systemd-tmpfiles --create ehos.conf
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload
    systemctl --system try-restart 'ehos-frontend*.service' 'ehos*.path' || :
fi
:
