package pressure

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The arguments were read from /proc/PID/cmdline, with node 20.20.2, npm
// 11.19.1, next 16.4.6, turbo 2.11.11, vite 8.3.8 and bun 1.4.5 on Linux, unless
// a line names another. The directories are shortened.
func TestArgumentsOfRealProcesses(t *testing.T) {
	for _, tt := range []struct {
		argv []string
		want string
	}{
		// next, by every way to start it.
		{[]string{"node", "/app/node_modules/.bin/next", "build"}, "next build"},
		{[]string{"node", "/app/node_modules/.bin/next", "build", "--webpack"}, "next build"},
		{[]string{"node", "../../node_modules/next/dist/bin/next", "build"}, "next build"},
		// Yarn's way, not run.
		{[]string{"/usr/bin/node", "--require", "/app/.pnp.cjs", "/app/next/dist/bin/next", "build"}, "next build"},
		// Not run.
		{
			[]string{"node", "--max-old-space-size=4096", "--env-file", ".env", "node_modules/.bin/next", "build", "."},
			"next build",
		},
		{[]string{"next-build (v16.4.6)"}, "next build"},
		{[]string{"next-build (v16"}, "next build"}, // the title has only the room of the old arguments
		{[]string{"next-build"}, "next build"},
		// its workers, and what it is not.
		{[]string{"/usr/bin/node", "/app/node_modules/next/dist/compiled/jest-worker/processChild.js"}, ""},
		{[]string{"next-build-worker"}, ""}, // not seen
		{[]string{"next-server (v16.4.6)"}, ""},
		{[]string{"/usr/bin/node", "/app/node_modules/next/dist/server/lib/start-server.js"}, ""},
		{[]string{"node", "/app/node_modules/.bin/next", "dev", "-p", "4555"}, ""},
		{[]string{"node", "/app/node_modules/.bin/next", "start"}, ""},
		{[]string{"node", "/app/node_modules/.bin/next", "start", "build"}, ""}, // a directory
		{[]string{"node", "/app/node_modules/.bin/next"}, ""},

		// turbo: the wrapper and the native binary.
		{[]string{"node", "/app/node_modules/.bin/turbo", "run", "build"}, "turbo build"},
		{[]string{"/app/node_modules/@turbo/linux-64/bin/turbo", "run", "build"}, "turbo build"},
		{[]string{"/app/node_modules/@turbo/linux-64/bin/turbo", "build", "--filter=spa"}, "turbo build"},
		{[]string{"turbo", "--filter", "spa", "run", "lint", "web#build"}, "turbo build"}, // not run, as the ones below
		{[]string{"turbo", "run", "build:docs"}, "turbo build"},
		{[]string{"turbo", "run", "lint"}, ""},
		{[]string{"turbo", "--filter", "build", "lint"}, ""},
		{[]string{"turbo", "run", "dev", "--", "build"}, ""},
		{[]string{"turbo", "daemon"}, ""},
		{[]string{"turbo", "watch", "build"}, ""},
		{[]string{"turbo"}, ""},

		// vite.
		{[]string{"node", "/app/node_modules/.bin/vite", "build"}, "vite build"},
		{[]string{"node", "/app/node_modules/.bin/vite", "build", "--mode", "production"}, "vite build"},
		{[]string{"node", "/app/node_modules/vite/bin/vite.js", "--mode", "production", "build"}, "vite build"},
		{[]string{"node", "/app/node_modules/.bin/vite", "build", "--watch"}, ""},
		{[]string{"node", "/app/node_modules/.bin/vite", "--port", "4556"}, ""},
		{[]string{"node", "/app/node_modules/.bin/vite", "preview", "--port", "4557"}, ""},
		{[]string{"vite", "preview", "build"}, ""},
		{[]string{"vite", "--mode", "build"}, ""},

		// webpack, run with webpack-cli 7.3.1; its title is the bare name.
		{[]string{"node", "/app/node_modules/.bin/webpack"}, "webpack"},
		{[]string{"node", "/app/node_modules/.bin/webpack", "--mode", "production"}, "webpack"},
		{[]string{"node", "/app/node_modules/.bin/webpack", "--env", "serve", "./src/index.js"}, "webpack"},
		{[]string{"webpack"}, "webpack"}, // other signs decide what it is
		{[]string{"node", "/app/node_modules/.bin/webpack", "serve"}, ""},
		{[]string{"node", "/app/node_modules/.bin/webpack", "--watch"}, ""},
		{[]string{"node", "/app/node_modules/.bin/webpack", "--watch=true"}, ""},
		{[]string{"node", "/app/node_modules/.bin/webpack-dev-server"}, ""},

		// Angular, by the title that its program sets.
		{[]string{"node", "/app/node_modules/.bin/ng", "build"}, "ng build"},
		{[]string{"ng build --configuration production"}, "ng build"},
		{[]string{"ng", "build"}, "ng build"},
		{[]string{"ng build --configuration= (app)"}, "ng build"}, // run, 20.3
		{[]string{"ng run app:build"}, "ng build"},
		{[]string{"ng run app:build:production (app)"}, "ng build"},
		{[]string{"ng run app:serve"}, ""},
		{[]string{"ng run build"}, ""},
		{[]string{"ng build --watch"}, ""},
		{[]string{"ng build --watch (app)"}, ""},
		{[]string{"ng build --watch=false"}, "ng build"},
		{[]string{"ng serve"}, ""},
		{[]string{"ng"}, ""},
		{[]string{"ng e2e build"}, ""},

		// the others.
		{[]string{"node", "/app/node_modules/.bin/rollup", "-c"}, "rollup"},
		{[]string{"node", "/app/node_modules/.bin/rollup", "-c", "-w"}, ""},
		{[]string{"node", "/app/node_modules/.bin/rollup", "-cw"}, ""},
		{[]string{"node", "/app/node_modules/.bin/rollup", "--config", "rollup.watch.mjs"}, "rollup"},
		{[]string{"node", "/app/node_modules/.bin/rollup", "--version"}, ""},
		{[]string{"node", "/app/node_modules/.bin/nuxt", "build"}, "nuxt build"},
		{[]string{"node", "/app/node_modules/.bin/nuxi", "generate"}, "nuxt build"},
		{[]string{"node", "/app/node_modules/nuxt/bin/nuxt.mjs", "build"}, "nuxt build"},
		{[]string{"node", "/app/node_modules/.bin/nuxt", "dev"}, ""},
		{
			[]string{
				"/usr/bin/node", "--enable-source-maps",
				"/app/node_modules/@nuxt/cli/dist/dev/index.mjs", "--port", "0",
			},
			"",
		},
		{[]string{"node", "/app/node_modules/.bin/astro", "build"}, "astro build"},
		{[]string{"node", "/app/node_modules/.bin/astro", "preview", "build"}, ""},
		{[]string{"node", "/app/node_modules/.bin/gatsby", "build"}, "gatsby build"},
		{[]string{"node", "/app/node_modules/.bin/gatsby", "develop"}, ""},
		{[]string{"/usr/bin/node", "/app/node_modules/gatsby-worker/dist/child.js"}, ""},
		{[]string{"node", "/app/node_modules/.bin/docusaurus", "build"}, "docusaurus build"},
		{[]string{"node", "/app/node_modules/.bin/docusaurus", "start"}, ""},
		{[]string{"node", "/app/node_modules/.bin/remix", "vite:build"}, "remix build"},
		{[]string{"node", "/app/node_modules/.bin/remix", "vite:dev"}, ""},
		{[]string{"node", "/app/node_modules/.bin/remix-serve", "build"}, ""},
		{[]string{"node", "/app/node_modules/.bin/react-router", "build"}, "react-router build"},
		{[]string{"node", "/app/node_modules/.bin/react-router", "dev"}, ""},
		{[]string{"node", "/app/node_modules/.bin/parcel", "build", "index.html"}, "parcel build"},
		{[]string{"node", "/app/node_modules/.bin/parcel", "index.html"}, ""},
		{[]string{"/app/node_modules/@esbuild/linux-x64/bin/esbuild", "src/main.ts", "--bundle"}, "esbuild"},
		// The helper of vite and tsup.
		{[]string{"/app/node_modules/@esbuild/linux-x64/bin/esbuild", "--service=0.25.1", "--ping"}, ""},
		{[]string{"esbuild", "src/main.ts", "--bundle", "--serve=8000"}, ""},
		{[]string{"node", "/app/node_modules/.bin/tsc", "-b"}, "tsc"},
		{[]string{"node", "/app/node_modules/.bin/tsc", "--noEmit", "--watch"}, ""},
		{[]string{"node", "/app/node_modules/typescript/lib/tsserver.js"}, ""},

		// as Docker's ps joins them.
		{strings.Fields("next-build (v16.4.6)"), "next build"},
		{strings.Fields("npm run build"), ""},
		{strings.Fields("npm exec next build"), ""},
		{strings.Fields("sh -c next build"), ""},
		{strings.Fields("node /app/node_modules/.bin/vite build"), "vite build"},
		{strings.Fields("next-server (v16.4.6)"), ""},

		// wrappers, in the order in which they appear.
		{[]string{"node", "/usr/bin/npx", "next", "build"}, ""},
		{[]string{"npm"}, ""},
		{[]string{"npm exec next build"}, ""},
		{[]string{"npm exec vite build --mode production"}, ""},
		{[]string{"node", "/usr/bin/npm", "run", "build"}, ""},
		{[]string{"npm run build"}, ""},
		{[]string{"sh", "-c", "next build"}, ""},
		{[]string{"sh", "-c", "'next' build"}, ""},
		{[]string{"sh", "-c", "turbo run build"}, ""},
		{[]string{"bash", "-c", "next-build (v16.4.6)"}, ""},
		{[]string{"/app/node_modules/.bin/bun", "x", "vite", "build"}, ""}, // starts a node

		// those that merely say it.
		{[]string{"vim", "next", "build"}, ""},
		{[]string{"grep", "-r", "next build"}, ""},
		{[]string{"grep", "next-build (v16.4.6)"}, ""},
		{[]string{"less", "/app/node_modules/.bin/next", "build"}, ""},
		{[]string{"git", "commit", "-m", "next build"}, ""},
		{[]string{"node", "-e", "next", "build"}, ""},
		{[]string{"node", "--title", "next", "server.js", "build"}, ""},
		{[]string{"node", "server.js", "next", "build"}, ""},
		{[]string{"node", "nextjs", "build"}, ""},
		{[]string{"node"}, ""},
		{[]string{"node", "--", "-"}, ""},
		{[]string{"-bash"}, ""},
		{[]string{""}, ""},
		{[]string{"", "", "build"}, ""},
		{nil, ""},

		// hostile ones.
		{[]string{"next-build (\n::set-env name=BASH_ENV::x\x1b[31m\xff"}, "next build"},
		{[]string{"x\nnext", "build"}, ""},
		{[]string{"node", "/x/next", strings.Repeat("-", 2<<20), "build"}, "next build"},
	} {
		if got := indexOf(Known()).match(tt.argv).tool; got != tt.want {
			t.Errorf("toolOf(%.120q) = %q, want %q", tt.argv, got, tt.want)
		}
	}
}

func TestPatternsCompareWholeTokensInOrder(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		argv    string
		want    bool
	}{
		{"webpack", "webpack", true},
		{"webpack", "/x/bin/webpack --mode production", true},
		{"webpack", "node /x/node_modules/.bin/webpack build", true},
		{"webpack", "webpack-dev-server", false},
		{"webpack", "vim webpack", false},
		{"gradle assemble", "gradle assemble", true},
		{"gradle assemble", "gradle -q clean assemble", true},
		{"gradle assemble", "gradle tasks", false},
		{"gradle assemble", "gradle assembleDebug", false},
		{"gradle clean assemble", "gradle assemble clean", false},
		{"make all", "make -C docs all", true},
		{"make all", "make -- all", false},
		{"  make   all ", "make all", true},
		{"cmake --build", "cmake --build out", true},
		{"cmake --build", "cmake -B out", false},
		{"cargo build --release", "cargo build --verbose --release", true},
		{"cargo build --release", "cargo build", false},
		{"mytool !--dry-run", "mytool x --dry-run", false},
		{"mytool !--dry-run", "mytool x", true},
		{"mytool !plan", "mytool -v plan", false},
		{"jest !--onlyChanged", "node /x/node_modules/.bin/jest --onlyChanged", false},
		{"jest", "node /x/node_modules/.bin/jest --watch", false},
		{"jest --watch", "node /x/node_modules/.bin/jest --watch", true},
		{"hugo", "hugo server", false},
		{"hugo server", "hugo server", true},
		{"latexmk", "/usr/bin/perl /usr/bin/latexmk -pdf paper.tex", true},
		{"composer install", "php -d memory_limit=-1 /usr/local/bin/composer install", true},
		{"composer install", "php /opt/composer.phar install", true},
		{"python sphinx", "/usr/bin/python3.11 -m sphinx -b html . out", true},
		{"go build", "go1.26.8 build ./...", true},
		{"gradle assemble", "java org.gradle.wrapper.GradleWrapperMain tasks", false},
		{"gradle assemble", "java -cp x org.gradle.launcher.daemon.bootstrap.GradleDaemon 8.5", true}, // while it works
		{"docker build", "docker --context remote -l debug image build .", true},
		{"docker build", "docker container exec ci build", false},
		{"docker compose build", "/usr/libexec/docker/cli-plugins/docker-compose compose -f x.yaml build web", true},
		{"docker compose build", "/usr/bin/python3 /usr/bin/docker-compose build web", true},
	} {
		rule, err := Pattern(tt.pattern)
		if err != nil {
			t.Errorf("Pattern(%q): %v", tt.pattern, err)
			continue
		}
		got := indexOf([]Rule{rule}).match(strings.Fields(tt.argv)).tool
		if want := strings.Join(strings.Fields(tt.pattern), " "); (got != "") != tt.want || got != "" && got != want {
			t.Errorf("pattern %q over %q: %q, want a match: %v", tt.pattern, tt.argv, got, tt.want)
		}
	}
}

// What public configurations and process lists hold, with what is right for each. An
// empty pattern means the known builds.
func TestProcessesInTheField(t *testing.T) {
	for file, counts := range map[string]bool{"counts.json": true, "not.json": false} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		var processes []struct {
			Patterns string
			Argv     []string
		}
		if err := json.Unmarshal(text, &processes); err != nil {
			t.Fatal(err)
		}
		for _, p := range processes {
			rules := Known()
			if p.Patterns != "" {
				rule, err := Pattern(p.Patterns)
				if err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				if rules = append(rules, rule); counts { // by the pattern itself
					rules = []Rule{rule}
				}
			}
			if got := indexOf(rules).match(p.Argv).tool; (got != "") != counts {
				t.Errorf("%s: pattern %q over %q: %q", file, p.Patterns, p.Argv, got)
			}
		}
	}
}

func TestBuildsThatAreNoFrontEnds(t *testing.T) {
	for argv, want := range map[string]string{
		"go test ./...":                          "go build",
		"go -C x build":                          "go build",
		"go run ./server":                        "",
		"go list -m all":                         "",
		"cargo +nightly b":                       "cargo build",
		"cargo --color never test":               "cargo build",
		"cargo run":                              "",
		"cargo watch -x build":                   "",
		"rustc --version":                        "",
		"java -jar /x/gradle-wrapper.jar :a:jar": "gradle build",
		"java -cp x org.gradle.wrapper.GradleWrapperMain bootRun":                           "",
		"java -cp x org.gradle.wrapper.GradleWrapperMain build -t":                          "",
		"java -cp x org.codehaus.plexus.classworlds.launcher.Launcher -q verify":            "mvn build",
		"java -cp x org.codehaus.plexus.classworlds.launcher.Launcher spring-boot:run":      "",
		"java -Xmx1g -jar /usr/share/sbt/bin/sbt-launch.jar clean compile":                  "sbt build",
		"java -jar /usr/share/sbt/bin/sbt-launch.jar":                                       "",
		"java -cp /usr/share/ant/lib/ant-launcher.jar org.apache.tools.ant.launch.Launcher": "ant",
		"dotnet publish -c Release":                                                         "dotnet build",
		"dotnet watch build":                                                                "",
		"dotnet app.dll build":                                                              "",
		"dotnet /sdk/8/MSBuild.dll /nodemode:1 /nologo":                                     "",
		"bazel run //server":                                                                "",
		"bazel query //x build":                                                             "",
		"bazel --output_base /x test //...":                                                 "bazel build",
		"cmake -S . -B out":                                                                 "",
		"cmake -E copy a b":                                                                 "",
		"ninja -t clean":                                                                    "",
		"make -C x -j 8 all":                                                                "make -j",
		"make -kj8":                                                                         "make -j",
		"make --jobs=8 all":                                                                 "make -j",
		"make all":                                                                          "",
		"make -j2 serve":                                                                    "",
		"docker compose -f x.yaml up -d --build":                                            "docker build",
		"docker compose up -d":                                                              "",
		"docker buildx bake":                                                                "docker build",
		"docker buildx ls":                                                                  "",
		"docker buildx b .":                                                                 "docker build",
		"docker pull build":                                                                 "",
		"podman --log-level debug build -t x .":                                             "docker build",
		"buildah ps":                                                                        "",
		"nx run-many -t lint,build":                                                         "nx build",
		"nx run-many -t lint":                                                               "",
		"nx serve build":                                                                    "",
		"nx run web:serve":                                                                  "",
		"turbo --profile build":                                                             "turbo build",
		"ng build --watch false":                                                            "ng build",
		"vite build --watch false":                                                          "vite build",
		"bun x vite build":                                                                  "",
		"bun run build":                                                                     "",
		"deno run -A npm:vite@7 build":                                                      "vite build",
		"deno task build":                                                                   "",
		"box64 /usr/bin/node /x/.bin/next build":                                            "next build",
		"node --max-old-space-size 8192 /x/.bin/next build":                                 "next build",
		"node --some-flag 100 /x/.bin/next build":                                           "next build",
		"python3 /srv/next build":                                                           "",
	} {
		if got := indexOf(Known()).match(strings.Fields(argv)).tool; got != want {
			t.Errorf("%q is %q, want %q", argv, got, want)
		}
	}
}

func TestTheParentShowsWhatAProgramThatHidesItsArgumentsIs(t *testing.T) {
	for _, tt := range []struct {
		argv         []string
		heavy, known bool
	}{
		{[]string{"sh", "-c", "webpack"}, true, true},
		{[]string{"/bin/sh", "-c", "'webpack' --mode production"}, true, true},
		{[]string{"sh", "-c", "tsc && node_modules/.bin/webpack build"}, true, true},
		{[]string{"sh", "-c", "webpack serve"}, false, true},
		{[]string{"sh", "-c", "webpack --mode production --watch"}, false, true},
		{strings.Fields("sh -c webpack serve"), false, true}, // as Docker shows it
		{[]string{"sh", "-c", "make site"}, false, false},
		{[]string{"bash", "-e", "/tmp/step.sh"}, false, false},
		{[]string{"node", "/usr/bin/pnpm", "exec", "webpack", "build"}, true, true},
		{[]string{"node", "/usr/bin/pnpm", "exec", "webpack", "serve"}, false, true},
		{[]string{"npm exec webpack serve"}, false, true},
		{[]string{"node", "/app/node_modules/.bin/cross-env", "NODE_ENV=production", "webpack", "-w"}, false, true},
		{[]string{"webpack"}, false, false}, // the parent of a worker
		{[]string{"npm run build"}, false, false},
		{nil, false, false},
	} {
		if heavy, known := judgeByParent(tt.argv, "webpack", Known()); heavy != tt.heavy || known != tt.known {
			t.Errorf("judgeByParent(%q) = %v, %v", tt.argv, heavy, known)
		}
	}
}

func TestAPatternGoesBeforeTheKnownRules(t *testing.T) {
	for _, name := range []string{"webpack", "tsc", "rollup"} {
		rule, err := Pattern(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := indexOf(append(Known(), rule)).match([]string{name}); m != (match{tool: name, client: true}) {
			t.Errorf("%s is %+v", name, m)
		}
	}
}

func TestPatternsThatCannotMatchAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                 "empty",
		"  ":               "empty",
		"/usr/bin/webpack": "slash",
		"gradle x/y":       "slash",
		"-q gradle":        "no program",
		"!gradle":          "no program",
		"gradle !":         "excludes nothing",
		"a\tb":             "unprintable",
		"a\x1b[31m":        "unprintable",
		"a\u202eb":         "unprintable",
		"a\xff":            "unprintable",
	} {
		if rule, err := Pattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Pattern(%q) = %v, %v; want an error about %q", pattern, rule, err, want)
		}
	}
}

func FuzzToolIsAlwaysOneOfOurs(f *testing.F) {
	f.Add("node\x00/x/next\x00build")
	f.Add("next-build (\n::add-path::x")
	f.Add("ng build --watch")
	f.Add("sh\x00-c\x00'webpack' serve")
	rules := Known()
	tools := map[string]bool{"": true}
	for _, r := range rules {
		tools[r.tool] = true
	}
	f.Fuzz(func(t *testing.T, cmdline string) {
		argv := strings.Split(cmdline, "\x00")
		if got := indexOf(rules).match(argv); !tools[got.tool] {
			t.Errorf("%q is %q", cmdline, got.tool)
		}
		judgeByParent(argv, "webpack", rules)
	})
}
