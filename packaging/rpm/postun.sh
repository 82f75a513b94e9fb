# 0: the package was removed. Its folders are in no list of files.
if [ "$1" = 0 ]; then
    find /usr/share/ehos /usr/share/doc/ehos -depth -type d -empty -delete 2>/dev/null || :
fi
if [ -d /run/systemd/system ]; then systemctl --system daemon-reload || :; fi
:
