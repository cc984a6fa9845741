package pressure

import (
	"path"
	"slices"
	"strings"
)

// program is one program that a command line names: "java", and in it "gradle".
type program struct {
	name string
	args []string
	in   string // the interpreter that runs it, "" if it runs by itself
	path string // of its script, or its class
	// rests is for daemons that outlive the build, such as Gradle's.
	rests bool
}

// interpreter is a program that runs another one in its own process.
type interpreter struct {
	name   string   // without a version: "python" is python3.11 too
	valued []string // its own flags that take the next token as their value
	text   []string // after these there is program text, and no program
	module string   // the flag whose value is the program's name
	// words come before the program: "deno run".
	words []string
	// own are commands of its own, where a first word may also be a program.
	own []string
	// class is for those whose first word is a class or module, not a file.
	class bool
}

// interpreters are what a person who looks for "next build" or "gradle assemble"
// sees through. The flags of node are those of its own help, 24.11, which take a
// value, with V8's that were seen in the field.
var interpreters = []interpreter{
	{name: "node", text: []string{"-e", "--eval", "-p", "--print", "-pe", "-c", "--check", "--run"}, valued: []string{
		"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file",
		"--env-file-if-exists", "--title", "--icu-data-dir", "--stack-trace-limit", "--heapsnapshot-signal",
		"--heapsnapshot-near-heap-limit", "--unhandled-rejections", "--max-http-header-size", "--disable-proto",
		"--disable-warning", "--dns-result-order", "--openssl-config", "--redirect-warnings", "--diagnostic-dir",
		"--input-type", "--cpu-prof-dir", "--cpu-prof-interval", "--cpu-prof-name", "--heap-prof-dir",
		"--heap-prof-interval", "--heap-prof-name", "--report-filename", "--report-signal", "--secure-heap",
		"--secure-heap-min", "--snapshot-blob", "--tls-cipher-list", "--tls-keylog", "--trace-event-categories",
		"--trace-event-file-pattern", "--use-largepages", "--v8-pool-size", "--watch-path", "--localstorage-file",
		"--allow-fs-read", "--allow-fs-write", "--inspect-publish-uid", "--trace-require-module",
		"--max-old-space-size", "--max-old-space-size-percentage", "--max-semi-space-size",
	}},
	{name: "bun", valued: []string{"--cwd", "-r", "--preload", "-c", "--config", "--env-file"},
		text: []string{"-e", "--eval"},
		// "bun x" and "bun run" start what they name as a process of its own.
		own: []string{"build", "run", "x", "install", "i", "add", "remove", "update", "link", "create", "init", "test",
			"pm", "upgrade", "exec", "repl", "publish", "outdated", "audit", "patch", "info", "why"}},
	{name: "deno", words: []string{"run"}, valued: []string{"-c", "--config", "--import-map", "--env-file", "--lock",
		"--cert"}},
	{name: "python", module: "-m", text: []string{"-c"}, valued: []string{"-W", "-X", "-Q", "--check-hash-based-pycs"}},
	{name: "pypy", module: "-m", text: []string{"-c"}, valued: []string{"-W", "-X"}},
	{name: "ruby", text: []string{"-e"}, valued: []string{"-r", "-I", "-C", "-E", "-x"}},
	{name: "perl", text: []string{"-e", "-E"}, valued: []string{"-I"}},
	{name: "php", text: []string{"-r"}, valued: []string{"-d", "-c", "-z"}},
	{name: "sh", text: []string{"-c"}, valued: []string{"-o", "-O", "+o", "+O", "--rcfile", "--init-file"}},
	{name: "java", class: true, valued: []string{"-cp", "-classpath", "--class-path", "-p", "--module-path",
		"--upgrade-module-path", "--add-modules", "--add-opens", "--add-exports", "--add-reads",
		"--enable-native-access",
		"--source"}},
	{name: "dotnet", valued: []string{"--roll-forward", "--fx-version", "--additionalprobingpath", "--additional-deps",
		"--depsfile", "--runtimeconfig"},
		own: []string{"build", "publish", "test", "pack", "msbuild", "restore", "run", "watch", "clean", "new", "add",
			"remove", "tool", "format", "sln", "list", "nuget", "workload", "store", "vstest"}},
	{name: "dart"},
	// Emulators and loaders run the program that is named first; "-0" gives the name
	// by which the kernel was asked for it.
	{name: "qemu", valued: []string{"-0", "-L", "-E", "-U", "-cpu", "-B", "-s", "-R", "-d", "-D", "-g", "-p"}},
	{name: "ld", valued: []string{"--library-path", "--preload", "--argv0", "--audit", "--inhibit-rpath"}},
	{name: "box"},
}

// alias is what a script, class or jar is called by those who start it.
type alias struct {
	end   string   // of its path or name
	words []string // the program, and the words that it stands for
	rests bool
}

var aliases = []alias{
	{end: "react-scripts/scripts/build.js", words: []string{"react-scripts", "build"}},
	{end: "kaniko/executor", words: []string{"kaniko"}},
	{end: "flutter_tools.snapshot", words: []string{"flutter"}},
	{end: "MSBuild.dll", words: []string{"dotnet", "build"}},
	{end: "gradlew", words: []string{"gradle"}},
	{end: "gradle-wrapper.jar", words: []string{"gradle"}},
	{end: "org.gradle.wrapper.GradleWrapperMain", words: []string{"gradle"}},
	{end: "org.gradle.launcher.GradleMain", words: []string{"gradle"}},
	{end: "org.gradle.launcher.daemon.bootstrap.GradleDaemon", words: []string{"gradle"}, rests: true},
	{end: "mvnw", words: []string{"mvn"}},
	{end: "maven-wrapper.jar", words: []string{"mvn"}},
	{end: "org.apache.maven.wrapper.MavenWrapperMain", words: []string{"mvn"}},
	{end: "org.codehaus.plexus.classworlds.launcher.Launcher", words: []string{"mvn"}},
	{end: "org.apache.maven.cli.MavenCli", words: []string{"mvn"}},
	{end: "sbt-launch.jar", words: []string{"sbt"}},
	{end: "xsbt.boot.Boot", words: []string{"sbt"}},
	{end: "ant-launcher.jar", words: []string{"ant"}},
	{end: "org.apache.tools.ant.launch.Launcher", words: []string{"ant"}},
	{end: "org.apache.tools.ant.Main", words: []string{"ant"}},
	{end: "com.google.devtools.build.lib.bazel.Bazel", words: []string{"bazel"}, rests: true},
	{end: "docker-buildx", words: []string{"docker"}}, // its first argument is "buildx"
	{end: "docker-compose", words: []string{"docker", "compose"}},
	{end: "podman-compose", words: []string{"podman", "compose"}},
}

// programs returns what a command line names, from the process's own program to the
// innermost that it runs.
func programs(argv []string) (all []program) {
	const deepest = 6 // an emulator, a loader, node, a script: four
	if len(argv) == 0 {
		return nil
	}
	for p := named(argv[0], argv[1:], ""); len(all) < deepest; {
		if as, ok := aliased(p); ok {
			all = append(all, p)
			p = as
		}
		of := kind(p.name)
		at := slices.IndexFunc(interpreters, func(i interpreter) bool { return i.name == of })
		if at < 0 {
			return append(all, p)
		}
		inner, rest, ok := interpreters[at].script(p.args)
		if !ok {
			return append(all, p)
		}
		p.args = append([]string{path.Base(inner)}, rest...) // "python3 sphinx-build" is a pattern too
		all = append(all, p)
		p = named(inner, rest, interpreters[at].name)
	}
	return all
}

// named returns the program of a file, class or title.
func named(file string, args []string, in string) program {
	name := path.Base(file)
	if title, ok := strings.CutPrefix(name, "node ("); ok { // vitest renames itself to "node (vitest 1)"
		name = firstWord(title)
	}
	if before, _, ok := strings.Cut(name, "("); ok && before != "" && !strings.HasSuffix(before, " ") {
		name = before // bazel(workspace)
	}
	return program{name: name, args: args, in: in, path: file}
}

// aliasesOf are the aliases by the last element of their path.
var aliasesOf = func() map[string][]alias {
	all := map[string][]alias{}
	for _, a := range aliases {
		all[path.Base(a.end)] = append(all[path.Base(a.end)], a)
	}
	return all
}()

func aliased(p program) (program, bool) {
	for _, a := range aliasesOf[path.Base(p.path)] {
		if p.path == a.end || strings.HasSuffix(p.path, "/"+a.end) {
			args := append(slices.Clone(a.words[1:]), p.args...)
			if len(a.words) > 1 && len(p.args) > 0 && p.args[0] == a.words[1] { // a plugin: docker-compose compose
				args = p.args
			}
			return program{name: a.words[0], args: args, rests: a.rests}, true
		}
	}
	return program{}, false
}

// versionDigits are what a version behind a name is made of.
const versionDigits = "0123456789.-"

// families are interpreters whose names only begin alike.
var families = [...]struct{ prefix, name string }{
	{"qemu-", "qemu"}, {"ld-musl-", "ld"}, {"ld-linux", "ld"}, {"ld.so", "ld"}, {"FEX", "box"},
}

// kind returns an interpreter's name without its version, or what it is one of.
func kind(name string) string {
	name = strings.TrimSuffix(name, ".real")
	for _, family := range &families {
		if strings.HasPrefix(name, family.prefix) {
			return family.name
		}
	}
	switch name = strings.TrimRight(name, versionDigits); name {
	case "nodejs":
		return "node"
	case "bash", "dash", "ash", "zsh", "ksh", "busybox":
		return "sh"
	case "jruby":
		return "ruby"
	}
	return name
}

// script returns the program that an interpreter's arguments name, and that one's
// arguments.
func (i interpreter) script(args []string) (file string, rest []string, ok bool) {
	words := i.words
	for n := 0; n < len(args); n++ {
		switch arg := args[n]; {
		case slices.Contains(i.text, arg):
			return "", nil, false
		case i.module != "" && arg == i.module, i.class && arg == "-jar", i.class && (arg == "-m" || arg == "--module"):
			if n+1 == len(args) {
				return "", nil, false
			}
			return args[n+1], args[n+2:], true
		case slices.Contains(i.valued, arg):
			n++
		case strings.HasPrefix(arg, "-"), i.class && strings.HasPrefix(arg, "@"),
			strings.Trim(arg, "0123456789") == "": // the value of a flag that is not listed
		case len(words) > 0:
			if arg != words[0] {
				return "", nil, false
			}
			words = words[1:]
		case slices.Contains(i.own, arg):
			return "", nil, false
		default:
			return strings.TrimPrefix(withoutVersion(arg), "npm:"), args[n+1:], true
		}
	}
	return "", nil, false
}

// withoutVersion shortens deno's "npm:vite@7".
func withoutVersion(specifier string) string {
	if !strings.HasPrefix(specifier, "npm:") {
		return specifier
	}
	if at := strings.LastIndexByte(specifier, '@'); at > len("npm:") {
		return specifier[:at]
	}
	return specifier
}

// isCalled reports whether a program has one of these names, with a version or
// without: "go1.26", "python3.11". A script may have an extension.
func (p program) isCalled(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		rest, found := strings.CutPrefix(p.name, name)
		return found && (strings.Trim(rest, versionDigits) == "" || p.in != "" && rest == path.Ext(p.name))
	})
}

// installed reports whether a program is what its name says. A script that only has a
// tool's name, such as a server's own "rollup.js" or one of another language, is not
// the tool.
func (p program) installed() bool {
	switch {
	case slices.Contains([]string{"python", "pypy", "ruby", "perl", "php"}, p.in):
		return false
	case p.in == "" || path.Ext(p.name) == "":
		return true
	}
	for _, tree := range []string{"node_modules/", ".yarn/", ".zip/"} {
		if strings.Contains(p.path, tree) {
			return true
		}
	}
	return false
}
