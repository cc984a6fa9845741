package page

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pan moves the picture for two seconds, a little at each frame, and counts the frames.
const pan = `new Promise((done) => {
	const picture = document.querySelector(".picture"), begin = performance.now();
	let frames = 0;
	const step = () => {
		picture.dispatchEvent(new WheelEvent("wheel", { deltaX: -3, cancelable: true }));
		if (performance.now() - begin < 2000) requestAnimationFrame(() => { frames++; step(); });
		else done(frames / 2);
	};
	step();
})`

// The figures of docs/figures.md: a history of 50,000 intervals is open within a second, and
// follows the hand. Here the limits are those of a machine that does other things too.
func TestFiftyThousandIntervalsOpenAndPan(t *testing.T) {
	d := made(noon, 400)
	d.Intervals = d.Intervals[max(0, len(d.Intervals)-50_000):]
	d.Begin = d.Intervals[0].From
	t.Logf("%d intervals, %d bytes", len(d.Intervals), len(d.AppendJSON(nil)))
	s := serve(t, d)
	var b *tab
	for _, view := range []string{"#now", "#timeline"} {
		best := 1e9
		for range 5 {
			if b != nil {
				b.close()
			}
			b = open(t, "http://"+s.address+"/"+view, wide)
			b.wait("performance.getEntriesByName('shown').length > 0")
			best = min(best, eval[float64](b, "performance.getEntriesByName('shown')[0].startTime"))
		}
		t.Logf("%s is open %.0f ms after it was asked for, at best", view, best)
		if best > 3000 {
			t.Error("that is too late")
		}
	}
	b.wait(answered)
	b.shot("50000")
	for _, days := range []int{1, 30, 90} {
		until := noon.Unix() - 86400
		b.do(chromedp.Evaluate(fmt.Sprintf("location.hash = '#timeline/%d-%d'", until-int64(days)*86400, until), nil))
		var frames float64
		b.do(
			chromedp.Evaluate(
				pan,
				&frames,
				func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) },
			),
		)
		t.Logf("%d days in view pan with %.0f frames a second", days, frames)
		if frames < 15 {
			t.Error("that is too slow")
		}
	}
}
