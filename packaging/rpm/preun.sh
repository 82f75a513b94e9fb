# 0: the package is removed; 1: a newer one follows.
if [ "$1" = 0 ]; then
    for link in /etc/systemd/system/*.wants/ehos*; do
        if [ -L "$link" ]; then systemctl --no-reload disable "${link##*/}" || :; fi
    done
    if [ -d /run/systemd/system ]; then systemctl stop 'ehos*.timer' 'ehos*.path' 'ehos*.service' || :; fi
fi
:
