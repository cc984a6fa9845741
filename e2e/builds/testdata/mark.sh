# Between go and its tools: leaves a file when the first one runs, and one when the
# linker has ended.
: >"$BUILD_MARKS/begun"
"$@" || exit
case "$1 $2" in
*/link\ -V=full) ;;
*/link\ *) : >"$BUILD_MARKS/ended" ;;
esac
