# Packs what was brought, so that the package of a later version has one to upgrade. Its version is below that of a package
# of the same sources. Without dpkg the files stay as they are: rpm packs nothing that is installed.
set -e
command -v dpkg-deb >/dev/null || exit 0
folder=$(mktemp -d /var/tmp/ehos.XXXXXX); trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"; file=$folder/ehos.deb kind=deb
mkdir -p -m 755 "$folder/tree/DEBIAN"
# A package has no folder that is a link, as /usr/lib may not be, nor an owner.
for path in $paths; do
    mkdir -p -m 755 "$folder/tree${path%/*}"; cp -p "$path" "$folder/tree$path"
done
version=$(/usr/bin/ehos --version | cut -d ' ' -f 2)
printf '%s\n' "Package: ehos" "Version: $version-0deploy" "Architecture: $(dpkg --print-architecture)" \
    "Maintainer: ehos master deploy <root@localhost>" "Section: admin" "Priority: optional" \
    "Description: Autoscaler of HTCondor pools on OpenStack" \
    " Brought by ehos master deploy." | tee "$folder/tree/DEBIAN/control" >/dev/null
script() { tee "$folder/tree/DEBIAN/$1" >/dev/null; chmod 755 "$folder/tree/DEBIAN/$1"; }
