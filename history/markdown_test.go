package history

import (
	"strings"
	"testing"
	"time"
)

func TestTheSummary(t *testing.T) {
	docs, blog := job("docs#61"), job("blog#97")
	docs.RunURL, blog.Job = "javascript:alert(1)", "deploy"
	part := func(kind Kind, who Who, from, until int) Part {
		return Part{Kind: kind, Who: who, From: at(60 * from).UTC(), Until: at(60 * until).UTC(), What: "image build",
			Time: time.Duration(until-from) * time.Minute, Held: 24 * time.Minute}
	}
	press := part(Build, Who{Repository: "wooo/docs"}, 2, 5)
	press.Name = "next build"
	slow := part(Hold, blog, 19, 43)
	slow.Usual = 7 * time.Minute
	dead := part(Hold, docs, 0, 3)
	dead.End, dead.Evidence = EndTakenOver, "its container is gone"
	alive := slow
	alive.Evidence = "alive: its container runs"
	hostile := part(Hold, Who{Repository: "wooo/`x|y", Job: "<img src=x> @mia [a](b)", Run: "1"}, 0, 6)
	hostile.What = "a|b\n| c"
	many := Answer{Who: job("shop#12"), Lock: "deploy", Total: 80 * time.Minute, Host: "ci-host-1"}
	for i := range 8 {
		many.Parts = append(many.Parts, part(Hold, job("docs#6"), 10*i, 10*i+10))
	}
	for _, c := range []struct {
		name  string
		a     Answer
		stall Stall
		want  string
	}{
		{"three causes", Answer{Host: "ci-host-1", Who: job("shop#12"), Lock: "host-docker-build",
			Total: 41 * time.Minute, Parts: []Part{press, part(Hold, docs, 5, 19), slow}}, Stall{Time: noon, IO: 55},
			"**Waited 41m** before `host-docker-build`, not this change's fault.\n\n" +
				"| | for | from | until |\n|--:|---|---|---|\n" +
				"| 3m | pressure: next build of `wooo/docs` | 12:02 | 12:05 |\n" +
				"| 14m | `wooo/docs` build &#35;61, image build | 12:05 | 12:19 |\n" +
				"| 24m | `wooo/blog` deploy [&#35;97](https://git.example.com/wooo/blog/actions/runs/97), image " +
				"build (usually 7m) | 12:19 | 12:43 |\n\n" +
				"Host `ci-host-1` · IO stall 55 % meanwhile · " +
				"`hostguard why -run https://git.example.com/wooo/shop/actions/runs/12`\n"},
		{"a short wait", Answer{Lock: "deploy", Total: 4999 * time.Millisecond, Parts: []Part{slow}}, Stall{}, ""},
		{"the holder died", Answer{Lock: "deploy", Total: 3 * time.Minute, Parts: []Part{dead}}, Stall{},
			"**Waited 3m** before `deploy`: `wooo/docs` build &#35;61 did not give it back (its container is gone), " +
				"so it was taken over.\n"},
		{"not got in time", Answer{Lock: "deploy", Total: 30 * time.Minute, End: EndGaveUp,
			Parts: []Part{alive}}, Stall{},
			"**Did not get `deploy` in 30m**, not this change's fault. Held by `wooo/blog` deploy [&#35;97](" +
				"https://git.example.com/wooo/blog/actions/runs/97) for 24m (usually 7m): alive: its container runs. " +
				"Run again, or give a longer `timeout`.\n"},
		{"names are text", Answer{Lock: "deploy", Total: 6 * time.Minute, Parts: []Part{hostile}}, Stall{},
			"**Waited 6m** before `deploy`, not this change's fault.\n\n| | for | from | until |\n|--:|---|---|---|\n" +
				"| 6m | `wooo/'x\\|y` &lt;img src=x&gt; &#64;mia &#91;a&#93;&#40;b&#41; &#35;1, a&#124;b &#124; c " +
				"| 12:00 | 12:06 |\n"},
	} {
		if got := c.a.Markdown(c.stall); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	text := many.Markdown(Stall{})
	if strings.Count(text, "\n") != 12 || !strings.Contains(text, "| 30m | 3 others | | |\n") {
		t.Error(text)
	}
}

func TestOnlyAHarmlessAddressIsALink(t *testing.T) {
	for address, want := range map[string]bool{
		"https://git.example.com/wooo/shop/actions/runs/12": true, "http://[::1]/x": false, "http:/x": false,
		"javascript:alert(1)": false, "https://a/b) [x](https://c": false, "https://me:secret@a/b": false,
		"https://a/b|c": false, "https://a/`": false, "https://a/b\n": false, "": false, "/x": false,
		"https://a/" + strings.Repeat("x", 600): false,
	} {
		if got := SafeURL(address) != ""; got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}
