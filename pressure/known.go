package pressure

import (
	"slices"
	"strings"
)

// watchingLong are the flags of most tools for a build that does not end, and watching
// those of most bundlers; asking are those for a word about the tool itself.
var (
	watchingLong = []string{"--watch", "--watchAll", "--help", "--version"}
	watching     = append([]string{"-w"}, watchingLong...)
	asking       = []string{"--help", "--version"}
)

// Known returns the builds that hostguard knows. Those marked "run" were run from
// npm, with node 20.20, and read in /proc; e2e/builds runs some of them again
// and again. Those marked "read" are taken from the source of that version.
func Known() []Rule {
	rules := slices.Concat(frontEnds(), compilers(), images())
	for i := range rules {
		rules[i].watchFlags = append(rules[i].watchFlags, asking...)
	}
	return rules
}

func frontEnds() []Rule {
	return []Rule{
		// Next.js. Run, 16.4.6: starts as "node", ".../node_modules/.bin/next",
		// "build"; after 0.3 s the same process is the one token
		// "next-build (v16.4.6)", cut off where its old arguments ended. 14.2
		// has no such title. Its workers are "node",
		// ".../jest-worker/processChild.js"; "next start" and "next dev" become
		// "next-server (v16.4.6)".
		{tool: "next build", programs: []string{"next"}, title: "next-build", heavy: first("build")},

		// Turborepo. Run, 2.11.11: "node", ".../node_modules/.bin/turbo", "run",
		// "build", and below it the native ".../@turbo/linux-64/bin/turbo",
		// "run", "build", and below that "npm run build" for each package.
		// "turbo daemon" and "turbo watch build" stay for ever and are mostly
		// idle.
		{tool: "turbo build", programs: []string{"turbo"}, heavy: turboTasks,
			valued: []string{"--filter", "-F", "--cwd", "--concurrency", "--cache", "--cache-dir", "--cache-workers",
				"--output-logs", "--log-order", "--log-prefix", "--ui", "--api", "--team", "--token", "--verbosity",
				"--root-turbo-json", "--env-mode", "--summarize"},
			watchFlags: []string{"--dry-run", "--dry", "--graph", "-h"}},

		// Vite. Run, 8.3.8: "node", ".../node_modules/.bin/vite", "build", one
		// process to the end. "vite", "vite dev" and "vite preview" serve.
		// SvelteKit, SolidStart and Qwik build by "vite build".
		{tool: "vite build", programs: []string{"vite"}, heavy: first("build"), watchFlags: watching,
			valued: []string{"--config", "-c", "--base", "--logLevel", "-l", "--configLoader", "--filter", "-f",
				"--mode",
				"-m"}},

		// webpack. Run, webpack-cli 7.3.1: "node", ".../node_modules/.bin/webpack",
		// and after 0.2 s the one token "webpack", whatever it does. The first
		// word may be an entry file, so what is no build is listed.
		{tool: "webpack", programs: []string{"webpack", "webpack-cli"}, hidesArguments: true, grouped: true,
			watchFlags: watching,
			heavy: anyBut("serve", "server", "s", "watch", "w", "info", "i", "configtest", "t", "version", "v",
				"help", "h", "init", "create", "c", "loader", "l", "plugin", "p"),
			valued: []string{"--config", "-c", "--mode", "--env", "--name", "--node-env", "--entry", "-o",
				"--output-path", "-d", "--devtool", "-t", "--target"}},

		// Rollup. Run, 4.68: "node", ".../.bin/rollup", "-c". No title. "-cw" is
		// "-c -w", a watcher.
		{tool: "rollup", programs: []string{"rollup", "rolldown"}, grouped: true, heavy: anyBut(),
			watchFlags: append([]string{"-h", "-v"}, watching...)},

		// Nuxt. Run, 4.4 with nuxi 3.37: "node", ".../.bin/nuxt", "build".
		// "generate" builds and renders; "nuxt dev" (with a
		// ".../dist/dev/index.mjs" below it), "preview" and "start" serve.
		{tool: "nuxt build", programs: []string{"nuxt", "nuxi", "nuxt-cli"}, heavy: first("build", "generate"),
			valued: []string{"--cwd", "--dotenv", "--logLevel", "--preset"}},

		// Astro. Run, 5.18 (6.0 wants node 22; read): "node", ".../.bin/astro",
		// "build". No title.
		{tool: "astro build", programs: []string{"astro"}, heavy: first("build"), watchFlags: watching,
			valued: []string{"--root", "--config", "--mode", "--outDir", "--site", "--base"}},

		// Angular. Run, 20.3: "node", ".../.bin/ng", "build", after 0.1 s the one
		// token "ng build --configuration production", and then with the project,
		// "ng build (app)". "ng run app:build" is the same build.
		{tool: "ng build", programs: []string{"ng"}, joined: true, heavy: angularBuild, watchFlags: watching},

		// Gatsby. Run, 5.16: "node", ".../.bin/gatsby", "build"; below it workers,
		// ".../gatsby-worker/dist/child.js". "gatsby develop" and "gatsby serve" serve.
		{tool: "gatsby build", programs: []string{"gatsby"}, heavy: first("build")},

		// Docusaurus. Run, 3.10: "node", ".../.bin/docusaurus", "build";
		// "deploy" builds first.
		{tool: "docusaurus build", programs: []string{"docusaurus"}, heavy: first("build", "deploy")},

		// Remix and its successor. Run, 2.17 and 7.18: "node", ".../.bin/remix",
		// "vite:build"; "react-router", "build".
		{tool: "remix build", programs: []string{"remix"}, heavy: first("build", "vite:build")},
		{tool: "react-router build", programs: []string{"react-router"}, heavy: first("build")},

		// Parcel. Run, 2.16: "node", ".../.bin/parcel", "build"; its workers
		// are threads. "parcel index.html" and "parcel watch" serve.
		{tool: "parcel build", programs: []string{"parcel"}, heavy: first("build"), watchFlags: []string{"--watch"}},

		// esbuild. Run, 0.28: the native program. Vite, Astro, Nuxt, Angular, tsup
		// and dev servers keep one with --service as a helper; that one is theirs.
		{tool: "esbuild", programs: []string{"esbuild"}, light: true, heavy: anyBut(),
			watchFlags: []string{"--watch", "--serve", "--servedir", "--service", "--version", "--help"}},

		// The TypeScript compiler. Run, 5.9: "node", ".../.bin/tsc", "-b". An
		// editor's tsserver.js is another script.
		{tool: "tsc", programs: []string{"tsc", "vue-tsc"}, light: true, heavy: anyBut(),
			watchFlags: append([]string{"-v", "-h", "--init", "--showConfig"}, watching...)},

		// Read in their documentation, not run.
		{tool: "react-scripts build", programs: []string{"react-scripts"}, heavy: first("build")},
		{tool: "vue-cli-service build", programs: []string{"vue-cli-service"}, heavy: first("build"),
			watchFlags: watching},
		{tool: "rspack build", programs: []string{"rspack"}, heavy: first("build", "b", "bundle"),
			watchFlags: watching},
		{tool: "rsbuild build", programs: []string{"rsbuild"}, heavy: first("build"), watchFlags: watching},
		{tool: "vitepress build", programs: []string{"vitepress"}, heavy: first("build")},
		{tool: "storybook build", programs: []string{"storybook"}, heavy: first("build")},
		{tool: "storybook build", programs: []string{"build-storybook"}, heavy: anyBut(), watchFlags: watching},
		{tool: "quasar build", programs: []string{"quasar"}, heavy: first("build")},
		{tool: "electron-builder", programs: []string{"electron-builder"},
			heavy: anyBut("install-app-deps", "node-gyp-rebuild", "create-self-signed-cert", "start", "help")},
		{tool: "nx build", programs: []string{"nx"}, heavy: first("build"), subcommand: subcommands["nx"],
			watchFlags: []string{"--graph", "--watch"}},
		{tool: "bun build", programs: []string{"bun"}, heavy: first("build"), watchFlags: watchingLong},
	}
}

// compilers are the builds that are no front ends.
func compilers() []Rule {
	return []Rule{
		{tool: "go build", programs: []string{"go"}, heavy: first("build", "install", "test", "vet"),
			valued: []string{"-C"}, runsAnything: true},
		{tool: "cargo build", programs: []string{"cargo"}, heavy: cargoBuild,
			valued: []string{"--config", "-C", "-Z", "--color", "--manifest-path"}},
		{tool: "rustc", programs: []string{"rustc"}, light: true, heavy: anyBut(),
			watchFlags: []string{"-V", "-vV", "--print"}},
		{tool: "gradle build", programs: []string{"gradle"}, client: true, heavy: gradleBuild,
			watchFlags: []string{"-t", "--continuous", "--stop", "--status", "-m", "--dry-run"}},
		{tool: "mvn build", programs: []string{"mvn", "mvnd"}, client: true,
			heavy: anyOf("compile", "test-compile", "test", "package", "verify", "integration-test", "install",
				"deploy", "site"),
			valued: []string{"-f", "--file", "-pl", "-P", "-s", "-T"}},
		{tool: "sbt build", programs: []string{"sbt"}, heavy: anyOf("compile", "test", "package", "assembly", "publish",
			"publishLocal", "stage", "dist", "Test/compile")},
		{tool: "ant", programs: []string{"ant"}, heavy: anyBut(), valued: []string{"-f", "-file", "-buildfile", "-lib"},
			watchFlags: []string{"-version", "-p", "-projecthelp", "-diagnostics", "-h"}},
		{tool: "dotnet build", programs: []string{"dotnet"}, heavy: first("build", "publish", "test", "pack",
			"msbuild"),
			watchFlags: []string{"/nodemode", "-nodemode", "/nodeMode"}}, // a node that waits for the next build
		{tool: "bazel build", programs: []string{"bazel", "bazelisk"}, client: true,
			heavy:  first("build", "test", "coverage"),
			valued: []string{"--output_base", "--output_user_root", "--bazelrc", "--host_jvm_args"}},
		{tool: "flutter build", programs: []string{"flutter"}, heavy: first("build"),
			valued: []string{"-d", "--device-id"}},
		{tool: "cmake --build", programs: []string{"cmake"}, required: []string{"--build"}, heavy: anyBut()},
		{tool: "ninja", programs: []string{"ninja", "samu"}, heavy: anyBut(), watchFlags: []string{"-t", "-n", "-h"},
			valued: []string{"-C", "-f", "-j", "-k", "-l"}},
		// One at a time is no pressure, and what make runs then is its own rule's.
		makeBuild("-j"), makeBuild("--jobs"),
	}
}

func makeBuild(jobs string) Rule {
	return Rule{tool: "make -j", programs: []string{"make", "gmake"}, required: []string{jobs}, grouped: true,
		heavy:      anyBut(serving...),
		valued:     []string{"-C", "-f", "-I", "-o", "-W", "-j", "-l"},
		watchFlags: []string{"-n", "--dry-run", "-v"}, runsAnything: true}
}

// images are builds of container images, as their clients show them. What runs for
// them in the daemon has rules of its own.
func images() []Rule {
	return []Rule{
		{tool: "docker build", programs: []string{"docker", "podman", "nerdctl"}, client: true,
			heavy:      anyOf("build", "bake"),
			subcommand: subcommands["docker"]},
		{tool: "buildah build", programs: []string{"buildah"}, heavy: first("build", "bud", "build-using-dockerfile")},
		{tool: "buildctl build", programs: []string{"buildctl"}, client: true, heavy: first("build"),
			valued: []string{"--addr"}},
		{tool: "kaniko", programs: []string{"kaniko"}, heavy: anyBut("version")},
	}
}

func first(commands ...string) func([]string) bool {
	return func(words []string) bool { return len(words) > 0 && slices.Contains(commands, words[0]) }
}

func anyBut(commands ...string) func([]string) bool {
	return func(words []string) bool { return len(words) == 0 || !slices.Contains(commands, words[0]) }
}

func angularBuild(words []string) bool {
	if len(words) > 1 && words[0] == "run" { // PROJECT:TARGET[:CONFIGURATION]
		parts := strings.Split(words[1], ":")
		return len(parts) > 1 && parts[1] == "build"
	}
	return len(words) > 0 && (words[0] == "build" || words[0] == "b")
}

func anyOf(commands ...string) func([]string) bool {
	return func(words []string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(commands, word) })
	}
}

// cargoBuild judges "build" and "+nightly build".
func cargoBuild(words []string) bool {
	if len(words) > 0 && strings.HasPrefix(words[0], "+") {
		words = words[1:]
	}
	return len(words) > 0 && slices.Contains([]string{"build", "b", "test", "t", "bench", "check", "c", "clippy",
		"doc", "d", "install", "rustc", "nextest"}, words[0])
}

// gradleBuild finds a task that builds among others: "assembleDebug", ":app:build".
func gradleBuild(words []string) bool {
	return slices.ContainsFunc(words, func(word string) bool {
		task := word[strings.LastIndexByte(word, ':')+1:]
		return slices.ContainsFunc([]string{"assemble", "build", "bundle", "check", "compile", "connected", "install",
			"jar", "publish", "shadowJar", "test", "war"},
			func(begin string) bool { return strings.HasPrefix(task, begin) }) &&
			!strings.HasPrefix(task, "buildEnvironment")
	})
}

// subcommands find the words of a command whose flags hide them, by program.
var subcommands = map[string]func(args []string) []string{
	"docker": containerCommand, "podman": containerCommand, "nerdctl": containerCommand,
	"nx": nxTasks,
}

// containerCommand returns the command of a container client: "buildx build" and what
// follows, but of "run", "exec" or "compose logs" nothing more, since what follows
// belongs to the container.
func containerCommand(args []string) []string {
	valued := []string{"-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--tlscacert", "--tlscert",
		"--tlskey", "-n", "--namespace", "--root", "--url", "--connection", "-f", "--file", "-p", "--project-name",
		"--project-directory", "--profile", "--env-file", "--ansi", "--progress", "--parallel", "--builder"}
	groups := []string{"image", "builder", "buildx", "compose", "container", "stack", "service", "network", "volume",
		"system"}
	var command []string
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case slices.Contains(valued, arg):
			i++
		case strings.HasPrefix(arg, "-"):
		case slices.Contains(groups, arg):
			if !slices.Contains(command, arg) { // docker-compose, the plugin, is given "compose" once more
				command = append(command, arg)
			}
		case arg == "b": // of buildx
			return slices.Concat(command, []string{"build"}, args[i+1:])
		case arg == "build", arg == "bake":
			return append(command, args[i:]...)
		case arg == "up" && slices.Contains(args[i:], "--build"):
			return append(command, arg, "build")
		default:
			return append(command, arg)
		}
	}
	return command
}

// nxTasks returns the targets first, and a build before all: of "build web", "run-many -t build",
// "affected --target=build" and "run web:build".
func nxTasks(args []string) (words []string) {
	var rest []string
	for i := 0; i < len(args); i++ {
		flag, value, given := strings.Cut(args[i], "=")
		switch {
		case slices.Contains([]string{"-t", "--target", "--targets"}, flag):
			if !given && i+1 < len(args) {
				i++
				value = args[i]
			}
			words = append(words, strings.Split(value, ",")...)
		case strings.Contains(args[i], ":") && !strings.HasPrefix(args[i], "-"):
			words = append(words, strings.Split(args[i], ":")[1])
		default:
			rest = append(rest, args[i])
		}
	}
	if slices.Contains(words, "build") {
		words = []string{"build"}
	}
	return append(words, rest...)
}

// turboTasks finds a build among the tasks: "turbo build", "turbo run lint
// build", "turbo run web#build", "turbo run build:docs". Without "run" the
// first word may be a command of its own: "turbo watch build".
func turboTasks(words []string) bool {
	if len(words) == 0 || slices.Contains(turboCommands, words[0]) {
		return false
	}
	return slices.ContainsFunc(words, func(task string) bool {
		task = task[strings.LastIndexByte(task, '#')+1:]
		return task == "build" || strings.HasPrefix(task, "build:") || strings.HasSuffix(task, ":build")
	})
}

// turboCommands are those whose arguments may be a task or package "build".
var turboCommands = []string{"boundaries", "daemon", "docs", "exec", "g", "gen", "generate", "ls", "prune", "query",
	"watch"}
