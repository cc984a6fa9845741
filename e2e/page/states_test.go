package page

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"hostguard/history"
	"hostguard/page"
)

var wide, phone = look{width: 1280, height: 900}, look{width: 360, height: 740, touch: true}

func TestAPageOfAnEmptyHistorySaysWhatIsWatched(t *testing.T) {
	d := made(noon, 1)
	d.Intervals, d.Gaps, d.Stalls = nil, nil, nil
	d.Begin = noon.Add(-time.Minute)
	s := serve(t, d)
	b := open(t, "http://"+s.address+"/#timeline", phone)
	b.wait("document.querySelector('.empty .head')?.innerText === 'Nothing has happened yet.'")
	if got := b.text(".empty"); !strings.Contains(got, "ci-host-1 is watched since 16:39.") ||
		!strings.Contains(
			got,
			"In sight: locks in Docker (Engine 26.1), processes, PSI, runner a, runner b. Out of sight: nothing.",
		) {
		t.Error(got)
	}
	b.noOverflow()
	b.contrast()
	b.shot("empty")
	// The first job appears by itself.
	first := *d
	first.Full = false
	first.Now, first.Look = noon.Add(time.Second), noon.Add(time.Second)
	first.Intervals = []history.Interval{
		{
			ID:    "h1",
			Kind:  history.Hold,
			Name:  "deploy",
			Who:   job("wooo/shop", "deploy", 1),
			From:  noon,
			Until: first.Look,
			Open:  true,
		},
	}
	s.send(&first)
	b.wait(
		"document.querySelector('.empty').hidden &&" +
			" document.querySelector('.sentence')?.innerText === 'Nobody had to wait.'",
	)
}

func TestTenIntervalsAreEnough(t *testing.T) {
	d := made(noon, 1)
	d.Intervals = slices.DeleteFunc(d.Intervals, func(v history.Interval) bool {
		return v.Kind != history.Hold || v.Open
	})
	d.Intervals, d.Stalls, d.Host = d.Intervals[len(d.Intervals)-10:], nil, page.Host{}
	b := open(t, "http://"+serve(t, d).address+"/", phone)
	b.wait("document.querySelector('.head')?.innerText === 'Nobody waits.'")
	if got := b.text("#now"); !strings.Contains(got, "The kernel of this host does not say") ||
		!strings.Contains(got, "Nobody had to wait.") {
		t.Error(got)
	}
	b.noOverflow()
	b.do(chromedp.Click("nav.tabs a:last-child"))
	b.wait("document.querySelector('.sentence')?.innerText === 'Nobody had to wait.'")
	b.noOverflow()
	b.contrast()
}

func TestAPageWhoseServerDiesSaysSoAndComesBack(t *testing.T) {
	s := serve(t, made(noon, 1))
	for _, l := range []look{wide, {width: 1280, height: 900, dark: true}} {
		b := open(t, "http://"+s.address+"/", l)
		b.wait("document.querySelector('.connection')?.innerText.startsWith('live')")
		b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
		s.kill()
		b.wait("document.querySelector('.connection').innerText === 'not connected'")
		if got := b.text(".banner"); !strings.HasPrefix(got, "Not connected since 16:40:1") ||
			!strings.Contains(got, "No lock depends on this page, which tries again in") {
			t.Error(got)
		}
		if got := b.text(".head"); !strings.HasPrefix(got, "At 16:40:1") {
			t.Errorf("the headline has no time: %s", got)
		}
		b.contrast()
		b.shot(fmt.Sprint("off-", l.dark))
		head := b.text(".head")
		time.Sleep(1500 * time.Millisecond) // a clock that goes on would show it
		if got := b.text(".head"); got != head {
			t.Errorf("the clocks go on: %s → %s", head, got)
		}
		s.start()
		b.wait(
			"document.querySelector('.connection').innerText.startsWith('live') &&" +
				" document.querySelector('.banner').hidden",
		)
		b.wait("document.querySelector('.head').innerText.startsWith('2 jobs wait')")
	}
}

func TestAPageWithoutAHistoryYetSaysSo(t *testing.T) {
	s := serve(t, made(noon, 1))
	b := open(t, "http://"+s.address+"/page.css", wide)
	s.kill()
	s.page() // alone: no data
	b.do(chromedp.Navigate("http://" + s.address + "/"))
	b.wait("document.querySelector('.banner')?.innerText" +
		".includes('The server does not answer. This page tries again in')")
	s.kill()
	s.start()
	b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
}

func TestAnUpdateIsOnThePageWithinASecond(t *testing.T) {
	s := serve(t, made(noon, 1))
	b := open(t, "http://"+s.address+"/", wide)
	b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
	at := noon.Add(3 * time.Second)
	update := *s.document
	update.Full, update.Now, update.Look, update.Stalls, update.Gaps, update.Intervals = false, at, at, nil, nil, nil
	for _, v := range s.document.Intervals { // docs build #63 releases the lock, and the next has it
		switch {
		case v.Kind == history.Hold && v.Open:
			v.Open, v.Until, v.End = false, at, history.EndReleased
			update.Intervals = append(update.Intervals, v)
		case v.Kind == history.Wait && v.Open && v.Who.Run == "19":
			v.Open, v.Until, v.End = false, at, history.EndAcquired
			hold := v
			hold.ID, hold.Kind, hold.From, hold.Open, hold.End = "new", history.Hold, at, true, ""
			update.Intervals = append(update.Intervals, v, hold)
		}
	}
	begin := time.Now()
	s.send(&update)
	b.wait("document.querySelector('.head').innerText.startsWith('1 job waits: wooo/blog build #101, 2m')")
	took := time.Since(begin)
	t.Logf("on the page after %v", took.Round(time.Millisecond))
	if got := b.text(".head"); !strings.Contains(got, "for wooo/shop build #19") {
		t.Error(got)
	}
	if took > 5*time.Second { // a busy machine
		t.Error("too late")
	}
}

func TestAPictureThatShowsNowGoesWithTheClock(t *testing.T) {
	s := serve(t, made(noon, 1))
	b := open(t, "http://"+s.address+"/#timeline", wide)
	b.wait("document.querySelector('.range')?.innerText === '13:40 – 16:40'")
	later := *s.document
	later.Full, later.Intervals = false, nil
	later.Now, later.Look = noon.Add(10*time.Minute), noon.Add(10*time.Minute)
	s.send(&later)
	b.wait("document.querySelector('.range').innerText === '13:50 – 16:50'")
	b.do(chromedp.Focus(".picture"), chromedp.KeyEvent(kb.ArrowLeft, chromedp.KeyModifiers(input.ModifierShift)))
	b.wait("document.querySelector('.range').innerText === '13:14 – 16:14'")
	later.Now, later.Look = noon.Add(20*time.Minute), noon.Add(20*time.Minute)
	s.send(&later)
	b.wait("document.querySelector('#clock').innerText.includes('17:00')")
	if got := b.text(".range"); got != "13:14 – 16:14" {
		t.Errorf("a picture of the past moves: %s", got)
	}
}

func TestALookThatIsOldIsNotNow(t *testing.T) {
	d := made(noon, 1)
	d.Now = noon.Add(10 * time.Minute)
	b := open(t, "http://"+serve(t, d).address+"/", wide)
	b.wait("document.querySelector('.banner')?.innerText.startsWith('Not watched since 16:40:12')")
	if got := b.text(".head"); !strings.Contains(got, "#19, 6m 12s") {
		t.Error(got)
	}
}

func TestHostileNamesAreTextAndBreakNoLayout(t *testing.T) {
	long := strings.Repeat("x", 300)
	names := []string{
		`</script><script>window.pwned=1</script>`,
		`<img src=x onerror=window.pwned=1>`,
		"a|b|c",
		"\u202eevil\u2066\u200e",
		long,
		strings.Repeat("寬", 300),
		"\x1b[31mred\x07\r\n",
		`javascript:alert(1)`,
		`"><b>bold</b>`,
		"__proto__",
	}
	d := &page.Document{
		Full:    true,
		Name:    names[0] + long,
		Program: names[1] + long,
		Begin:   noon.Add(-time.Hour),
		Now:     noon,
		Look:    noon,
		Host: page.Host{
			InSight:    names,
			Runners:    []page.Runner{{Name: names[0], Note: long}},
			LeftBehind: []page.LeftBehind{{Name: long, Note: names[1]}},
		},
	}
	for i, n := range names {
		who := history.Who{Repository: n, Job: n, Run: n, Actor: n, RunURL: "javascript:window.pwned=1//" + n}
		at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
		add := func(kind history.Kind, from, until int, open bool) {
			d.Intervals = append(
				d.Intervals,
				history.Interval{
					ID:       fmt.Sprint(n, kind, from),
					Kind:     kind,
					Name:     names[i/2],
					Who:      who,
					What:     n,
					From:     at(from),
					Until:    at(until),
					Open:     open,
					End:      n,
					Evidence: n,
				},
			)
		}
		add(history.Hold, -50+4*i, -46+4*i, false)
		add(history.Wait, -59, -50+4*i, false)
		add(history.Wait, -3, 0, true)
		add(history.Hold, -2, 0, true)
		add(history.Build, -9, 0, true)
		add(history.Runner, -59, 0, true)
		add(history.Container, -59, 0, true)
		add(history.Pressure, -9, 0, true)
		add(history.Reserved, -40, -39, false)
	}
	s := serve(t, d)
	for _, l := range []look{phone, wide} {
		b := open(t, "http://"+s.address+"/", l)
		b.wait("document.querySelector('.head')?.innerText.includes('jobs wait')")
		b.shot(fmt.Sprint("hostile-now-", l.width))
		b.noOverflow()
		b.contrast()
		b.do(chromedp.Navigate("http://" + s.address + "/#timeline"))
		b.wait(answered)
		b.do(chromedp.Click(".tools > .button"))
		b.wait("document.querySelectorAll('.table tbody tr').length > 0")
		b.do(chromedp.Focus(".picture"), chromedp.KeyEvent(kb.ArrowRight))
		b.shot(fmt.Sprint("hostile-timeline-", l.width))
		b.noOverflow()
		if eval[bool](b, "'pwned' in window || document.querySelector('img, b b, a[href^=javascript]') !== null") {
			t.Error("a name became markup")
		}
		const control = `/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\x1b\x07]/`
		if found := eval[string](b, "document.body.innerText.match("+control+")?.[0] ?? ''"); found != "" {
			t.Errorf("the page shows the control character %q", found)
		}
		const longest = `Math.max(...[...document.body.innerText.matchAll(/x+/g)].map((m) => m[0].length))`
		if n := eval[int](b, longest); n > 60 {
			t.Errorf("a name of %d characters is shown whole", n)
		}
	}
}

func TestTheKeyboardReachesAllThatAPointerDoes(t *testing.T) {
	b := open(t, "http://"+serve(t, made(noon, 1)).address+"/", wide)
	b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
	focused := func() string {
		return eval[string](
			b,
			"document.activeElement.getAttribute('data-key') ?? document.activeElement.className ?? ''",
		)
	}
	var seen []string
	for range 40 {
		b.do(chromedp.KeyEvent(kb.Tab))
		seen = append(seen, focused())
		if strings.HasPrefix(focused(), "why ") {
			break
		}
	}
	for _, want := range []string{"skip", "now", "timeline", "language",
		"https://git.example.com/wooo/docs/actions/runs/63", "strip host-docker-build", "why "} {
		if !strings.Contains(strings.Join(seen, "\n"), want) {
			t.Errorf("tab does not reach %q, but %q", want, seen)
		}
	}
	b.do(chromedp.KeyEvent(kb.Enter)) // Why?
	b.wait(answered)
	if got := b.text(".sentence"); !strings.HasPrefix(got, "wooo/shop build #12 waited 41m: 3m") {
		t.Error(got)
	}
	b.wait(`/^#timeline\/\d+-\d+\/p[0-9a-f]+$/.test(location.hash)`)

	b.do(chromedp.Focus(".picture"))
	said := func() string { return eval[string](b, "document.querySelector('body > .unseen').innerText") }
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	first := said()
	if !strings.HasPrefix(first, "holds the lock, wooo/") || !strings.Contains(first, "took ") {
		t.Errorf("what is pointed at is not said: %q", first)
	}
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	if said() == first {
		t.Error("the right arrow goes nowhere")
	}
	b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	b.wait(
		"document.querySelector('.question .tag').innerText === 'chosen' &&" +
			" document.querySelector('.sentence').innerText.includes('waited')",
	)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.wait("document.querySelector('.question .tag').innerText === 'longest wait in view'")
	before := b.text(".range")
	b.do(chromedp.KeyEvent("+"))
	b.wait(fmt.Sprintf("document.querySelector('.range').innerText !== %q", before))
	b.do(chromedp.KeyEvent("0"))
	b.wait("document.querySelector('[data-key=\"span 0\"]').getAttribute('aria-pressed') === 'true'")
	b.do(chromedp.KeyEvent("t"))
	b.wait("!document.querySelector('.table').hidden")
}

func TestALinkShowsItsMoment(t *testing.T) {
	d := made(noon, 1)
	s := serve(t, d)
	var id string
	for _, v := range d.Intervals {
		if v.Kind == history.Wait && v.Who.Run == "62" {
			id = v.ID
		}
	}
	from, until := noon.Add(-3*time.Hour).Unix(), noon.Add(-2*time.Hour).Unix()
	b := open(t, fmt.Sprintf("http://%s/#timeline/%d-%d/%s", s.address, from, until, id), wide)
	b.wait(answered)
	if got := b.text(".sentence"); !strings.HasPrefix(got, "wooo/docs build #62 waited 31m") {
		t.Error(got)
	}
	if got := b.text(".range"); got != "13:40 – 14:40" {
		t.Error(got)
	}
	for _, hostile := range []string{"#timeline/9-1/x", "#timeline/%E0%A4%A",
		"#timeline/0-999999999999/%", "#<script>"} {
		b.do(chromedp.Evaluate(fmt.Sprintf("location.hash = %q", hostile), nil))
		b.wait("document.querySelector('.head, .sentence').innerText.length > 0")
	}
}

func TestDragWheelPinchAndBrushMoveThePicture(t *testing.T) {
	b := open(t, "http://"+serve(t, made(noon, 1)).address+"/#timeline", look{width: 1280, height: 1400})
	b.wait(answered)
	box := eval[[]float64](
		b,
		"(({x, y, width, height}) => [x, y, width, height])("+
			"document.querySelector('.picture').getBoundingClientRect())",
	)
	x, y := box[0]+box[2]/2, box[1]+box[3]/2
	moved := func(what string, actions ...chromedp.Action) {
		t.Helper()
		before := b.text(".range")
		b.do(actions...)
		b.wait(fmt.Sprintf("document.querySelector('.range').innerText !== %q", before))
		t.Logf("%s: %s → %s", what, before, b.text(".range"))
	}
	mouse := func(kind input.MouseType, x, y float64) *input.DispatchMouseEventParams {
		return input.DispatchMouseEvent(kind, x, y).WithButton(input.Left).WithButtons(1).WithClickCount(1)
	}
	moved(
		"drag",
		mouse(input.MousePressed, x, y),
		mouse(input.MouseMoved, x+150, y),
		mouse(input.MouseMoved, x+300, y),
		mouse(input.MouseReleased, x+300, y),
	)
	moved(
		"ctrl and wheel",
		input.DispatchMouseEvent(input.MouseWheel, x, y).WithDeltaY(-120).WithModifiers(input.ModifierCtrl),
	)
	range1 := b.text(".range")
	b.do(
		chromedp.Evaluate("document.activeElement.blur()", nil),
		input.DispatchMouseEvent(input.MouseWheel, x, y).WithDeltaY(200),
	)
	time.Sleep(300 * time.Millisecond) // nothing may happen
	if got := b.text(".range"); got != range1 {
		t.Errorf("a wheel without the focus zoomed: %s → %s", range1, got)
	}
	b.do(chromedp.Evaluate("scrollTo(0, 0)", nil))
	moved(
		"shift and wheel",
		input.DispatchMouseEvent(input.MouseWheel, x, y).WithDeltaY(-300).WithModifiers(input.ModifierShift),
	)
	overview := eval[[]float64](
		b,
		"(({x, y, width}) => [x, y, width])(document.querySelector('.overview').getBoundingClientRect())",
	)
	ox, oy := overview[0]+400, overview[1]+20
	moved(
		"brush",
		mouse(input.MousePressed, ox, oy),
		mouse(input.MouseMoved, ox+50, oy),
		mouse(input.MouseMoved, ox+200, oy),
		mouse(input.MouseReleased, ox+200, oy),
	)
	touch := func(kind input.TouchType, points ...*input.TouchPoint) *input.DispatchTouchEventParams {
		return input.DispatchTouchEvent(kind, points)
	}
	moved(
		"pinch",
		touch(input.TouchStart, &input.TouchPoint{X: x - 50, Y: y, ID: 1}, &input.TouchPoint{X: x + 50, Y: y, ID: 2}),
		touch(input.TouchMove, &input.TouchPoint{X: x - 100, Y: y, ID: 1}, &input.TouchPoint{X: x + 100, Y: y, ID: 2}),
		touch(
			input.TouchMove,
			&input.TouchPoint{X: x - 200, Y: y, ID: 1},
			&input.TouchPoint{X: x + 200, Y: y, ID: 2},
		),
		touch(input.TouchEnd),
	)
}

func TestAFilterFadesAndNeverRemoves(t *testing.T) {
	b := open(t, "http://"+serve(t, made(noon, 1)).address+"/#timeline", wide)
	b.wait(answered)
	b.do(chromedp.Click(".tools > .button"), chromedp.Click(`[data-key="chip wooo/shop"]`))
	b.wait("document.querySelectorAll('.table tr.faded').length > 0")
	b.wait(
		"!document.querySelector('.question').innerText.includes('wooo/shop')",
	) // the longest of the others is explained
}

func TestTheWholePageIsInChinese(t *testing.T) {
	s := serve(t, made(noon, 1))
	for _, l := range []look{wide, {width: 360, height: 740, dark: true}} {
		b := open(t, "http://"+s.address+"/", l)
		b.wait("document.querySelector('.head')?.innerText.includes('2 jobs wait')")
		b.do(chromedp.Click(".language"))
		b.wait("document.documentElement.lang === 'zh-Hant-TW'")
		const head = "2 個工作在等待。最久的是 wooo/shop build #19，已等 6 分 1"
		if got := b.text(".head"); !strings.HasPrefix(got, head) {
			t.Error(got)
		}
		b.shot(fmt.Sprint("zh-now-", l.width))
		b.noOverflow()
		b.do(chromedp.Click("nav.tabs a:last-child"))
		b.wait(answered)
		const want = "wooo/shop build #12 等了 41 分：" +
			"3 分等壓力解除（wooo/docs test #60 的 next build）；" +
			"14 分等 wooo/docs build #61（image build；通常 6 分）；" +
			"24 分等 wooo/blog deploy #97（image build）。"
		if got := b.text(".sentence"); got != want {
			t.Error(got)
		}
		b.shot(fmt.Sprint("zh-timeline-", l.width))
		b.noOverflow()
		b.do(chromedp.Click(".language"))
		b.wait("document.documentElement.lang === 'en'")
	}
}

func TestAReportIsOneFileThatNeedsNoServer(t *testing.T) {
	var file bytes.Buffer
	d := made(noon, 1)
	if err := page.Standalone(&file, d); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, "file://"+name+"#timeline", wide)
	b.wait(answered)
	if got := b.text(".sentence"); !strings.HasPrefix(got, "wooo/shop build #12 waited 41m") {
		t.Error(got)
	}
	if got := b.text(".connection"); !strings.HasPrefix(got, "as of ") {
		t.Error(got)
	}
	if n := eval[int](b, "performance.getEntriesByType('resource').length"); n != 0 {
		t.Errorf("the file asked for %d others", n)
	}
	b.shot("report")
}
