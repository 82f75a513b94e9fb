# Deals with the file that comes by standard input, and prints what became of it, and then the difference.
set -e
if [ "$occasion" = dry-run ]; then
    new=$(mktemp); trap 'rm -f "$new"' EXIT; cat >"$new"
else
    mkdir -p -m 755 "${path%/*}"; umask 077; new=$path.new; cat >"$new"
fi
# A connection that breaks leaves no half of a file.
[ "$(wc -c <"$new")" -eq "$length" ] || { echo 'only a part of it has come' >&2; exit 1; }
[ "$occasion" = dry-run ] || rights
sum() { sha256sum <"$1" | cut -d ' ' -f 1; }
will=$(sum "$new"); is=; was=
if [ -e "$path" ]; then is=$(sum "$path"); fi
if [ -e "$list" ]; then
    while read -r sum name; do
        if [ "$name" = "$path" ]; then was=$sum; fi
    done <"$list"
fi
if [ "$is" = "$will" ]; then how=same
elif [ "$care" = compare ]; then how=differs
elif [ -z "$is" ]; then how=added
elif [ "$occasion" = first ] || [ "$care" = replace ]; then how=replaced
elif [ -L "$path" ]; then how=new-beside
elif [ -z "$was" ]; then how=$unknown
elif [ "$is" = "$was" ]; then how=replaced
elif [ "$was" = "$will" ]; then how=kept
else how=new-beside
fi
echo "$how"
if [ -z "$secret" ] && [ "$care" != replace ] && [ -e "$path" ] && command -v diff >/dev/null; then
    diff -u --label "$path" --label "$path, as it comes" "$path" "$new" | head -n 200 || :
fi
[ "$occasion" != dry-run ] || exit 0
if [ "$care" = compare ]; then rm -f "$new"; exit 0; fi
case $how in
    same) if [ -L "$path" ]; then rm -f "$new"; else mv -f "$new" "$path"; fi; rm -f "$path.ehos-new" ;;
    added) mv -f "$new" "$path" ;;
    replaced) mv -f "$new" "$path"; rm -f "$path.ehos-new" ;;
    kept) rm -f "$new" ;;
    new-beside) mv -f "$new" "$path.ehos-new" ;;
    old-beside) cp -p "$path" "$path.ehos-old"; mv -f "$new" "$path" ;;
esac
[ "$care" = keep-edited ] || exit 0
mkdir -p -m 755 "${list%/*}"
{
    if [ -e "$list" ]; then
        while read -r sum name; do
            [ "$name" = "$path" ] || printf '%s  %s\n' "$sum" "$name"
        done <"$list"
    fi
    printf '%s  %s\n' "$will" "$path"
} >"$list.new"
chmod 600 "$list.new"; mv -f "$list.new" "$list"
