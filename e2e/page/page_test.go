package page

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// noon is when the made history ends.
var noon = time.Date(2026, 11, 26, 16, 40, 12, 0, time.UTC)

const answered = "document.querySelector('.sentence')?.innerText.length > 0"

func TestThePageAnswersFirstAtEachWidthAndLight(t *testing.T) {
	s := serve(t, made(noon, 1))
	for _, l := range []look{{width: 360, height: 740}, {width: 360, height: 740, dark: true},
		{width: 1280, height: 900}, {width: 1280, height: 900, dark: true},
		{width: 1600, height: 1000}} {
		name := fmt.Sprint(l.width, map[bool]string{false: "-light", true: "-dark"}[l.dark])
		t.Run(name, func(t *testing.T) {
			b := open(t, "http://"+s.address+"/", l)
			b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
			if got := b.text(".head"); !strings.HasPrefix(got, "2 jobs wait. Longest: wooo/shop build #19, 6m 1") ||
				!strings.HasSuffix(got, ", for wooo/docs build #63 (image build).") {
				t.Error(got)
			}
			b.shot("now-" + name)
			b.noOverflow()
			b.contrast()
			b.do(chromedp.Click("nav.tabs a:last-child"))
			b.wait(answered)
			const sentence = "wooo/shop build #12 waited 41m: 3m for pressure (next build of wooo/docs test #60), " +
				"14m for wooo/docs build #61 (image build; usually 6m), " +
				"then 24m for wooo/blog deploy #97 (image build)."
			if got := b.text(".sentence"); got != sentence {
				t.Errorf("got  %s\nwant %s", got, sentence)
			}
			b.shot("timeline-" + name)
			b.noOverflow()
			b.contrast()
			b.do(chromedp.Click(".tools > .button"))
			b.wait("document.querySelectorAll('.table tbody tr').length > 0")
			b.shot("table-" + name)
			b.noOverflow()
			b.contrast()
		})
	}
}

// noOverflow checks that the page is not wider than its window.
func (b *tab) noOverflow() {
	b.Helper()
	if wide := eval[int](b, "document.documentElement.scrollWidth - innerWidth"); wide > 0 {
		b.Errorf(
			"the page is %d px wider than its window: %s",
			wide,
			eval[string](b, `[...document.querySelectorAll("body *")]
			.filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
			.map((e) => e.tagName + "." + e.className).slice(0, 5).join(", ")`),
		)
	}
}

// lowest is the lowest contrast of a text in the page with what is behind it, by WCAG 2.
const lowest = `(() => {
	const parse = (c) => (c.match(/[\d.]+/g) ?? []).map(Number);
	const luminance = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] > 0.99) return c;
		}
		return [255, 255, 255];
	};
	let worst = [Infinity, ""];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; (n = walk.nextNode()); ) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility() || e.closest(".unseen, .skip, script, option")) continue;
		const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(behind(e))];
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < worst[0]) worst = [contrast, e.className + ": " + n.data.slice(0, 40)];
	}
	return worst;
})()`

func (b *tab) contrast() {
	b.Helper()
	worst := eval[[]any](b, lowest)
	b.Logf("lowest contrast %.2f (%v)", worst[0], worst[1])
	if worst[0].(float64) < 4.5 {
		b.Errorf("a contrast of %.2f is lower than 4.5: %v", worst[0], worst[1])
	}
}
