set -e
folder=$(mktemp -d /var/tmp/ehos.XXXXXX); trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"; file=$folder/ehos.$kind
if command -v curl >/dev/null; then curl -fsSL -o "$file" -- "$url"
elif command -v wget >/dev/null; then wget -q -O "$file" -- "$url"
# Python is where cloud-init is.
else python3 -c 'import shutil, sys, urllib.request as r
shutil.copyfileobj(r.urlopen(sys.argv[1], timeout=60), open(sys.argv[2], "wb"))' "$url" "$file"; fi
echo "$sum  $file" | sha256sum -c - >/dev/null
