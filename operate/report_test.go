package operate

import (
	"testing"
	"time"

	"hostguard/history"
)

func TestNoCellIsAFormula(t *testing.T) {
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "wooo/shop": "wooo/shop", "": "",
		"\t=1": " =1", "a\r\n=1": "a  =1",
	} {
		if got := csvCell(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	is := &history.Report{Repositories: []history.RepositoryWaits{{Repository: `=cmd|"calc",1`,
		For: map[string]time.Duration{"-x": time.Minute}}}}
	want := "repository,jobs,waited more than a minute,waited,p50,p95,max,for pressure,for other,for -x\n" +
		"\"'=cmd|\"\"calc\"\",1\",0,0,0,0,0,0,0,0,60\n"
	if got := reportCSV(is); got != want {
		t.Error(got)
	}
}

func TestThePeriodIsOfDays(t *testing.T) {
	day := func(text string) time.Time {
		at, err := time.Parse("2006-01-02", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range [][3]string{
		{"2026-11-19", "2026-11-26", "19 to 26 November 2026"}, {"2026-11-26", "2026-11-26", "26 November 2026"},
		{"2026-10-28", "2026-11-03", "28 October to 3 November 2026"},
		{"2025-12-28", "2026-01-03", "28 December 2025 to 3 January 2026"},
	} {
		if got := period(&history.Report{From: day(c[0]), Until: day(c[1])}); got != c[2] {
			t.Error(got, c)
		}
	}
}

func TestASparkLineShowsAnyUse(t *testing.T) {
	var shares [24]float64
	shares[1], shares[2], shares[3], shares[4] = 0.001, 0.5, 0.999, 1
	if got := spark(shares, true); got != "▁▂▅██▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁" {
		t.Error(got)
	}
	if got := spark(shares, false); got != "_.=##"+"___________________" {
		t.Error(got)
	}
}
