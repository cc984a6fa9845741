package shell

import (
	"slices"
	"strings"
	"testing"
)

// A build is found wherever the shell of this host runs it.
func TestWhereABuildIsFound(t *testing.T) {
	for name, script := range map[string]string{
		"quoted substitution":         `id="$(docker build -q .)"`,
		"substitution as an argument": `docker run --rm "$(docker build -q .)" true`,
		"backquotes":                  "id=`docker build -q .`",
		"exported":                    `export ID=$(docker build -q .)`,
		"in a test":                   `[ -n "$(docker build -q .)" ] || exit 1`,
		"in a here-document":          "cat > file <<EOF\nid: $(docker build -q .)\nEOF",
		"bash -c":                     `bash -c 'docker build .'`,
		"more flags":                  `bash --noprofile -euo pipefail -c "docker build -t $TAG ."`,
		"flags in one":                `sh -xc "docker build ."`,
		"bash -c in bash -c":          `bash -c "set -e; bash -c \"docker build '.'\""`,
		"behind an assignment":        `A=b bash -c 'c=d docker build .'`,
		"flock":                       `flock /tmp/x.lock docker build .`,
		"flock with flags":            `flock -w 10 --conflict-exit-code 3 -x /tmp/x.lock docker build .`,
		"flock -c":                    `flock -n /tmp/x.lock -c 'docker build .'`,
		"flock and a shell":           `flock /tmp/x.lock sh -c 'cd app && docker build .'`,
		"env -S":                      `env -S 'docker build' .`,
		"env -S, attached":            `env -i '-SA=b docker build .'`,
		"env --split-string":          `env --split-string='docker build .'`,
		"sudo and a shell":            `sudo -u x sh -c 'docker build .'`,
		"sudo, flags in one":          `sudo -nu x docker build .`,
		"sudo, value attached":        `sudo -uroot docker build .`,
		"sudo, long flags":            `sudo --user x --preserve-env docker build .`,
		"su":                          `su - ci -c 'docker build .'`,
		"runuser":                     `runuser -u ci -- docker build .`,
		"timeout":                     `timeout 5m docker build .`,
		"timeout, long flags":         `timeout --signal KILL --kill-after=5 30 docker build .`,
		"nohup, setsid, stdbuf":       `nohup setsid -w stdbuf -oL docker build . &`,
		"command":                     `command docker build .`,
		"eval":                        `eval "docker build $ARGS" .`,
		"xargs":                       `ls -d */ | xargs docker build`,
		"xargs with flags":            `ls -d */ | xargs -r -n 1 -P 4 -I {} docker build {}`,
		"xargs and a shell":           `ls | xargs -I{} sh -c 'docker build {}'`,
		"find":                        `find . -name Dockerfile -exec docker build -f {} . \;`,
		"a function":                  "build() {\n  docker build .\n}\nbuild",
		"another form of function":    "function build { docker build .; }",
		"if":                          `if true; then docker build .; fi`,
		"a condition":                 `if ! docker build .; then exit 1; fi`,
		"else":                        "if a; then b; elif c; then d; else docker build .; fi",
		"for":                         `for d in a b; do docker build $d; done`,
		"while":                       `while ! docker build .; do sleep 5; done`,
		"until":                       `until false; do docker build .; done`,
		"case":                        "case $1 in\n  a|b) docker build . ;;\nesac",
		"a subshell":                  `(cd app && docker build .)`,
		"a group":                     `{ docker build .; } > log 2>&1`,
		"process substitution":        `diff <(docker build -q .) last`,
		"output substitution":         `docker save x | tee >(docker build -)`,
		"a pipeline":                  `docker build . 2>&1 | tee log`,
		"its end":                     `tar c . | docker build -`,
		"in the background":           `docker build . & wait`,
		"a coprocess":                 `coproc docker build .`,
		"time":                        `time -p docker build .`,
		"and, or":                     `test -f Dockerfile && docker build . || exit 1`,
		"buildx bake":                 `docker buildx bake`,
		"buildx bake, all of it":      `docker --context x buildx bake --push -f docker-bake.hcl app`,
		"compose":                     `docker compose -f compose.yaml build`,
		"continued lines":             "docker \\\n  build \\\n  .",
		"a quoted word":               `"docker" bui'ld' .`,
		"here-document for a shell":   "sh -s <<EOF\ndocker build .\nEOF",
		"for bash":                    "sudo bash <<'EOF'\ndocker build .\nEOF",
		"with a tab":                  "bash -e <<-EOF\n\tdocker build .\n\tEOF",
		"by cat":                      "cat <<EOF | sh -s -- a\ndocker build .\nEOF",
		"here-string":                 `bash <<< "docker build ."`,
		"an expression in it":         `docker build -t "${{ env.TAG }}" ${{ inputs.args }} .`,
		"behind an expression":        "echo ${{ toJSON(github.event.head_commit.message) }}\ndocker build .",
		"an expression in a shell":    `bash -c 'docker build -t ${{ env.TAG }} .'`,
		"an expression with a quote":  `docker build -t ${{ format('it''s {0}', env.TAG) }} .`,
	} {
		commands, err := Commands(script)
		if err != nil || !slices.ContainsFunc(commands, Command.Builds) {
			t.Errorf("%s: %q: %v, %v", name, script, commands, err)
		}
	}
}

// Text that no shell of this host runs is no command.
func TestWhereNoBuildIsFound(t *testing.T) {
	for name, script := range map[string]string{
		"a here-document's text":      "cat > build.sh <<'EOF'\ndocker build .\nEOF",
		"with an expansion":           "cat > build.sh <<EOF\ndocker build $1\nEOF",
		"of another program":          "python3 - <<EOF\ndocker build .\nEOF",
		"on another host":             "ssh host <<EOF\ndocker build .\nEOF",
		"a command of another host":   `ssh host 'docker build .'`,
		"piped to another host":       "cat <<EOF | ssh host bash -s\ndocker build .\nEOF",
		"quoted":                      `echo "docker build ." 'docker build .'`,
		"substituted in single":       `echo '$(docker build .)'`,
		"a comment":                   "true # docker build .\n# docker build .",
		"a script's name":             `bash "docker build .sh"`,
		"an argument of a script":     `bash run.sh -c 'docker build .'`,
		"an argument of a shell":      `bash -c 'echo "$1"' docker 'docker build .'`,
		"the here-document of a file": "bash run.sh <<EOF\ndocker build .\nEOF",
		"flock on a descriptor":       `flock 9 && echo docker build`,
		"find without it":             `find . -name docker -print build`,
		"the pattern of a case":       "case $1 in docker) build ;; esac",
		"a later word":                `echo docker build . | xargs echo`,
		"an expression":               `echo ${{ format('docker build {0}', env.X) }}`,
		"another name":                `docker-build build .`,
	} {
		commands, err := Commands(script)
		if err != nil || slices.ContainsFunc(commands, Command.Builds) {
			t.Errorf("%s: %q: %v, %v", name, script, commands, err)
		}
	}
}

// What does not parse is not known, also within a script; what was read before counts.
func TestWhatIsNotKnown(t *testing.T) {
	for name, script := range map[string]string{
		"an open quote":   `docker build "`,
		"an open if":      "if true; then\n  docker build .\n",
		"another shell's": "$x = @{a=1}\nforeach ($y in $x) { docker build . }",
		"Python":          "import subprocess\nif True:\n    subprocess.run(['docker', 'build'])",
		"within":          `docker pull x; bash -c 'docker build "'`,
		"within within":   `bash -c "bash -c 'docker build ('"`,
		"many levels":     strings.Repeat("(", 10_000) + "docker build ." + strings.Repeat(")", 10_000),
		"many scripts":    strings.Repeat("eval ", 100) + "docker build .",
		"too long":        "docker build .\n" + strings.Repeat("true\n", 100_000),
	} {
		if commands, err := Commands(script); err == nil {
			t.Errorf("%s: %.100q: %v", name, script, commands)
		}
	}
	commands, err := Commands(`docker pull x; bash -c '"'; docker push x`)
	if err == nil || len(commands) != 2 {
		t.Error(commands, err)
	}
}

func TestWordsAreWithoutTheirQuotes(t *testing.T) {
	for script, want := range map[string][]string{
		`a 'b c' "d \$e \"f\" \x" g\ h`:                 {"a", "b c", `d $e "f" \x`, "g h"},
		"a \"b\\\nc\" d\\\ne":                           {"a", "bc", "de"},
		`/usr/bin/a "$X" ${Y:-z} $(b "c") "p-$((1+2))"`: {"a", "$X", "${Y:-z}", `$(b "c")`, "p-$((1+2))"},
		`a "${{ env.LOCK }}" x-${{ matrix.os }}-y`:      {"a", "${{ env.LOCK }}", "x-${{ matrix.os }}-y"},
		`A=b a >out 2>&1 <in c`:                         {"a", "c"},
		`sudo -E A=b -u x a`:                            {"-u", "x", "a"},
		`find x -exec a {} +`:                           {"a", "{}"},
		`echo b | xargs -d '\n' a`:                      {"a", "$@"},
		"bash -c 'a \"b c\" '\\''d e'\\'":               {"a", "b c", "d e"},
		"sh <<EOF\na \"b c\" \\$d\nEOF":                 {"a", "b c", "$d"},
		"sh <<'EOF'\na \"b c\" \\$d\nEOF":               {"a", "b c", "$d"},
		"bash -c \"a ${{ github.ref }} '${{ join(x, ' ') }}' ${B}\"": {
			"a", "${{ github.ref }}", "${{ join(x, ' ') }}", "${B}",
		},
	} {
		commands, err := Commands(script)
		if err != nil || len(commands) == 0 || !slices.Equal(commands[len(commands)-1].Words, want) {
			t.Errorf("%q: %+v, %v; want %q", script, commands, err, want)
		}
	}
}

// What runs first comes first: a lock that is taken in a substitution is taken.
func TestCommandsComeInTheirOrder(t *testing.T) {
	commands, err := Commands("a $(b \"$(c)\") <(d)\nif e; then f; fi\ng | h && i\n")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range commands {
		names = append(names, c.Words[0])
	}
	if got := strings.Join(names, " "); got != "c b d a e f g h i" || commands[4].Line != 2 || commands[8].Line != 3 {
		t.Error(got, commands)
	}
}
